"""The drainer: numbers committed changes and publishes the newest status of each message."""

from __future__ import annotations

import asyncio

import structlog

from status_store.store import Change, Store
from tracepost import crash, postgres
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import StatusChanged, derived_id, event
from tracepost.topology import STATUS

log = structlog.get_logger()

BATCH = 1000
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
    await store.number_changes(BATCH)
    changes = await store.unpublished(BATCH)
    if not changes:
        return 0
    crash.point("status-store.numbered")
    await asyncio.gather(*(_publish(publisher, change) for change in changes))
    crash.point("status-store.changes-published")
    await store.mark_published([change.number for change in changes])
    return len(changes)


async def _publish(publisher: Publisher, change: Change) -> None:
    data = StatusChanged.model_validate(change.body)
    # The same id each time this version is published: a restart between confirm and mark repeats it.
    told = event("status-store", change.message_id, None, data, id=derived_id(change.message_id, data.version))
    try:
        await publisher.publish(told, STATUS, data.status)
    except Unroutable:
        return  # nobody has subscribed to this status
