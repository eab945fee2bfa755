"""The drainer: numbers committed changes and publishes the newest status of each message."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import structlog
from aio_pika import Message
from pydantic_core import from_json

from status_store.store import Change, Store
from tracepost import crash, events, postgres
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import AnyEvent, StatusChanged, derived_id, event
from tracepost.topology import STATUS

log = structlog.get_logger()

BATCH = 20  # marks, each of a transaction
AT_ONCE = 250  # in one AMQP message
POLL_SECONDS = 0.2

WAITS: tuple[type[Exception], ...] = (*postgres.TRANSIENT, NotConfirmed)


async def drain(store: Store, publisher: Publisher) -> None:
    """Number and publish for ever."""
    while True:
        try:
            while await flush(store, publisher):
                pass
        except WAITS as error:
            log.warning("changes wait", reason=repr(error))
        await asyncio.sleep(POLL_SECONDS)


async def flush(store: Store, publisher: Publisher) -> int:
    """Number what is committed, publish what is numbered; answers how many changes that were."""
    if not await store.number_changes(BATCH):
        return 0
    crash.point("status-store.numbered")
    async with store.unpublished(BATCH) as changes:
        lines: defaultdict[str, list[bytes]] = defaultdict(list)
        for change in changes:
            lines[change.status].append(events.encode(_told(change)))
        await asyncio.gather(*(_publish(publisher, status, line) for status, line in lines.items()))
        crash.point("status-store.changes-published")
    return len(changes)


def _told(change: Change) -> AnyEvent:
    data = StatusChanged.model_construct(
        status=change.status,
        version=change.version,
        reference=change.reference,
        app=change.app,
        rollup=from_json(change.rollup),
    )
    # The same id each time this version is published: a restart between confirm and mark repeats it.
    id_ = derived_id(change.message_id, data.version)
    return event("status-store", change.message_id, None, data, id=id_)


async def _publish(publisher: Publisher, status: str, told: Sequence[bytes]) -> None:
    for start in range(0, len(told), AT_ONCE):
        batch = Message(events.join(told[start : start + AT_ONCE]), content_type=events.BATCH_TYPE)
        with suppress(Unroutable):  # nobody has subscribed to this status
            await publisher.send(batch, STATUS, status)
