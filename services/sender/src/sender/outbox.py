"""Publishes the outbox: events leave it when the broker has confirmed them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from sender.store import Queue
from tracepost import crash, metrics, postgres
from tracepost.broker import NotConfirmed, Publisher, Unroutable

log = structlog.get_logger()

BATCH = 500
POLL_SECONDS = 1.0

WAITS: tuple[type[Exception], ...] = (*postgres.TRANSIENT, NotConfirmed, Unroutable)


async def drain(queue: Queue, publisher: Publisher, recorded: asyncio.Event) -> None:
    """Publish for ever; `recorded` wakes it."""
    while True:
        recorded.clear()
        try:
            while await flush(queue, publisher):
                pass
            metrics.OUTBOX_OLDEST.set(await queue.outbox_age())
        except WAITS as error:
            log.warning("outbox waits", reason=repr(error))
            await asyncio.sleep(POLL_SECONDS)
        # Not wait_for: on Python 3.11 it loses a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await recorded.wait()


async def flush(queue: Queue, publisher: Publisher) -> int:
    """Publish one batch; answers how many events it had."""
    async with queue.outbox(BATCH) as events:
        await asyncio.gather(*(publisher.publish(event) for event in events))
        if events:
            crash.point("sender.outbox-published")
        return len(events)
