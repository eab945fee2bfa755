"""Publishes the outbox: events leave it when the broker has confirmed them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import structlog
from aio_pika import Message

from sender.store import Queue
from tracepost import crash, events, metrics, postgres
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.topology import EVENTS

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
    async with queue.outbox(BATCH) as unpublished:
        by_name: defaultdict[str, list[bytes]] = defaultdict(list)
        for each in unpublished:
            by_name[each.name].append(each.body)
        await asyncio.gather(*(_publish(publisher, name, bodies) for name, bodies in by_name.items()))
        if unpublished:
            crash.point("sender.outbox-published")
        return len(unpublished)


async def _publish(publisher: Publisher, name: str, bodies: Sequence[bytes]) -> None:
    body, content_type = (events.join(bodies), events.BATCH_TYPE) if len(bodies) > 1 else (bodies[0], events.EVENT_TYPE)
    await publisher.send(Message(body, content_type=content_type), EVENTS, name)
