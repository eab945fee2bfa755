"""Has mails signed, with the mathematics in a thread: it alone lets others run meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sender.dkim import Draft, Unsigned, drafts, finished, values


async def sign(batch: Sequence[Unsigned]) -> list[bytes]:
    """Each with its signatures; one way to the thread and back for all."""
    drafted = list(map(drafts, batch))
    signed = await asyncio.to_thread(_values, drafted)
    together = zip(batch, drafted, signed, strict=True)
    return [finished(each.message, found, raw) for each, found, raw in together]


def _values(drafted: Sequence[Sequence[Draft]]) -> list[list[bytes]]:
    return list(map(values, drafted))
