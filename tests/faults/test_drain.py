"""A stop is heard whatever happens at that very moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from sender import outbox
from sender.store import Queue
from tracepost.broker import Publisher
from tracepost.events import AnyEvent


class EmptyQueue:
    """An outbox with nothing in it."""

    @asynccontextmanager
    async def outbox(self, _: int) -> AsyncIterator[list[AnyEvent]]:
        yield []

    async def outbox_age(self) -> float:
        return 0.0


@pytest.mark.parametrize("turns", range(4))
async def test_the_outbox_stops_when_an_outcome_is_recorded_at_that_moment(turns: int) -> None:
    recorded = asyncio.Event()
    draining = asyncio.create_task(outbox.drain(cast(Queue, EmptyQueue()), Publisher("amqp://unused"), recorded))
    for _ in range(10):
        await asyncio.sleep(0)  # a turn of the loop: it waits for the event now
    recorded.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    draining.cancel()
    await asyncio.wait({draining}, timeout=outbox.POLL_SECONDS / 2)
    assert draining.cancelled()
