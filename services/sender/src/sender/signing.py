"""Has mails signed in a thread, for as long as the mathematics takes: then others may run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sender.dkim import Unsigned, signed


async def sign(batch: Sequence[Unsigned]) -> list[bytes]:
    """Each with its signatures; one way to the thread and back for all."""
    return await asyncio.to_thread(_signed, batch)


def _signed(batch: Sequence[Unsigned]) -> list[bytes]:
    return [signed(each) for each in batch]
