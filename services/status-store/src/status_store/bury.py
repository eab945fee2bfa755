"""Drains the queue of dead letters into the table where they can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from status_store.dead import DeadLetter, letter
from status_store.store import Store
from tracepost import crash, metrics
from tracepost.broker import Codec, Incoming
from tracepost.problems import Problem


def _decode(message: Incoming) -> list[DeadLetter]:
    return [letter(message.body, message.headers, message.message_id, message.routing_key or "", message.content_type)]


CODEC: Codec[DeadLetter] = Codec(_decode, lambda dead: dead.body)


async def bury(store: Store, batch: Sequence[DeadLetter]) -> Mapping[int, Problem]:
    """Store the letters, each once."""
    await store.bury(batch)
    crash.point("status-store.letters-stored")
    metrics.DEAD_LETTERS.set(await store.count_dead())
    return {}
