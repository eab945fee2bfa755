"""The drainer: numbers committed changes and publishes the newest status of each message."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import structlog
from aio_pika import Message
from pydantic_core import to_json

from status_store.store import Change, Store
from tracepost import crash, events, postgres
from tracepost.broker import NotConfirmed, Publisher
from tracepost.events import derived_text
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
    """Number what is committed, publish what is numbered; answers how many marks and changes that were."""
    if (marks := await store.number_changes(BATCH)) is None:
        return 0
    crash.point("status-store.numbered")
    async with store.unpublished(BATCH) as changes:
        lines: defaultdict[str, list[bytes]] = defaultdict(list)
        now = datetime.now(UTC)
        for change in changes:
            lines[change.status].append(told(change, now))
        await asyncio.gather(*(_publish(publisher, status, line) for status, line in lines.items()))
        crash.point("status-store.changes-published")
    return marks + len(changes)


def told(change: Change, time: datetime) -> bytes:
    """The encoded event; made by hand, because what comes from our own tables needs no check, which costs the most."""
    named = {"reference": change.reference, "app": change.app}
    names = "".join([f'"{name}":{_json(value)},' for name, value in named.items() if value is not None])
    # The same id each time this version is published: a restart between confirm and mark repeats it.
    id_ = derived_text(change.message_id, change.version)
    return (
        f'{{"specversion":"1.0","id":"{id_}","source":"/tracepost/status-store","type":"tracepost.status-changed.v1",'
        f'"subject":"{change.message_id}","time":{_moment(time)},"datacontenttype":"application/json",'
        f'"data":{{"status":"{change.status}","version":{change.version},{names}"rollup":{change.rollup}}}}}'
    ).encode()


def _json(value: str | datetime) -> str:
    return to_json(value).decode()


_moment = lru_cache(1)(_json)  # what is published together has one time


async def _publish(publisher: Publisher, status: str, line: Sequence[bytes]) -> None:
    for start in range(0, len(line), AT_ONCE):
        batch = Message(events.join(line[start : start + AT_ONCE]), content_type=events.BATCH_TYPE)
        await publisher.send(batch, STATUS, status)
