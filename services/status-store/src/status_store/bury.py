"""Drains the queue of dead letters into the table where they can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from status_store.dead import DeadLetter, letter
from status_store.graves import Graves
from tracepost import crash, metrics
from tracepost.broker import Codec, Incoming
from tracepost.problems import Problem


def _decode(message: Incoming) -> list[DeadLetter]:
    return [letter(message.body, message.headers, message.message_id, message.routing_key or "", message.content_type)]


CODEC: Codec[DeadLetter] = Codec(_decode, lambda dead: dead.body)


async def bury(graves: Graves, batch: Sequence[DeadLetter]) -> Mapping[int, Problem]:
    """Store the letters, each once."""
    await graves.bury(batch)
    crash.point("status-store.letters-stored")
    metrics.DEAD_LETTERS.set(await graves.count())
    return {}
