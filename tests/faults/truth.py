"""What status-store made of events, held byte for byte against the pure fold of the same events."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel
from pydantic_core import from_json, to_json

from status_store.fold import Delivery, fold, redact
from status_store.fold import to_json as facts_of
from status_store.rollup import rollup
from status_store.standing import Status, applying
from tracepost import topology
from tracepost.events import Accepted, AnyEvent

TOLD = "faults.told"

Key = tuple[UUID, int]
Name = TypeVar("Name")
DELIVERIES = "SELECT message_id, recipient_no, facts, status FROM deliveries"
MESSAGES = """
SELECT message_id, status, rollup, recipient_count, described_by,
    app, reference, sender, subject, rfc_message_id, tags, metadata
FROM messages
"""
FEED = """
SELECT numbered, published, (SELECT count(*) FROM change_marks) AS marks,
    ARRAY (SELECT number FROM changes ORDER BY number) AS numbers
FROM feed
"""


@dataclass(frozen=True)
class Books:
    """The tables of status-store, the queues that it works on, and a subscriber to what it tells."""

    database_url: str
    channel: AbstractChannel
    told: list[dict[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A connection of somebody else's, which no fault has met."""
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask the tables."""
        async with self.operator() as connection:
            return list(await connection.fetch(sql, *arguments))

    async def stored(self) -> int:
        """How many events are."""
        [(count,)] = await self.fetch("SELECT count(*) FROM events")
        return int(count)

    async def waiting(self, queue: str) -> int:
        """How many messages a queue holds that no consumer has."""
        found = await self.channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def numbered_and_published(self) -> bool:
        """Whether the drainers have nothing left to do."""
        [feed] = await self.fetch(FEED)
        assert feed["marks"] == 0, f"{feed['marks']} marks are not numbered"
        assert feed["published"] == feed["numbered"], "not all is published"
        assert feed["numbers"] == list(range(1, feed["numbered"] + 1)), "the numbers have holes"
        return True

    async def listen(self) -> None:
        """Take in what was told to subscribers since."""
        queue = await self.channel.get_queue(TOLD)
        while message := await queue.get(no_ack=True, fail=False):
            self.told.extend(from_json(message.body))


@asynccontextmanager
async def books(amqp_url: str, database_url: str) -> AsyncIterator[Books]:
    """Subscribed from here on."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(TOLD, durable=True)
        await queue.bind(topology.STATUS, "#")
        yield Books(database_url, channel)


async def hold(books: Books, events: Iterable[AnyEvent]) -> str:
    """Assert that the tables, the feed and what was told are what these events add up to; answers a count in words."""
    histories = _by_delivery(events)
    folded = {key: fold(history) for key, history in histories.items()}
    rows = await books.fetch("SELECT message_id, event_id FROM events")
    published = {(id_, each.id): None for (id_, _), history in histories.items() for each in history}
    _same(published, dict.fromkeys(map(tuple, rows)), "event")
    deliveries = {(row[0], row[1]): tuple(row)[2:] for row in await books.fetch(DELIVERIES)}
    _same({key: (facts_of(each), applying(each)[0].status) for key, each in folded.items()}, deliveries, "delivery")
    messages = {row[0]: _readable(row) for row in await books.fetch(MESSAGES)}
    _same(_messages(histories, folded), messages, "message")
    assert await books.numbered_and_published()
    await books.listen()
    _hold_told(books.told, {str(row["message_id"]): row for row in await books.fetch("SELECT * FROM messages")})
    letters = await books.fetch("SELECT code, problem FROM dead_letters WHERE replayed_at IS NULL")
    assert not letters, f"dead letters: {letters}"
    assert await books.waiting(topology.DEAD_LETTERS.name) == 0
    return f"{len(published)} events, {len(deliveries)} deliveries, {len(books.told)} statuses told"


def _by_delivery(events: Iterable[AnyEvent]) -> dict[Key, list[AnyEvent]]:
    found: defaultdict[Key, list[AnyEvent]] = defaultdict(list)
    for each in events:
        found[each.message_id, each.recipient_no].append(each)
    return found


def _messages(histories: Mapping[Key, list[AnyEvent]], folded: Mapping[Key, Delivery]) -> dict[UUID, tuple[Any, ...]]:
    """As MESSAGES answers."""
    statuses: defaultdict[UUID, list[Status]] = defaultdict(list)
    described: dict[UUID, tuple[int, Accepted]] = {}
    for (id_, number), each in sorted(folded.items()):
        statuses[id_].append(applying(each)[0].status)
        if each.accepted and id_ not in described:
            described[id_] = number, _accepted(histories[id_, number], each)
    return {id_: _message(each, *described.get(id_, (None, None))) for id_, each in statuses.items()}


def _accepted(history: Iterable[AnyEvent], folded: Delivery) -> Accepted:
    """What the `accepted` that counts says, as erasure leaves it."""
    for each in history:
        if isinstance(each.data, Accepted) and folded.accepted and each.id == folded.accepted.event_id:
            return redact(each.data) if folded.erased else each.data
    raise AssertionError(f"{folded.accepted} is in no event")


def _message(statuses: list[Status], number: int | None, a: Accepted | None) -> tuple[Any, ...]:
    rolled = rollup(statuses, a.recipient_count if a else 0)
    head = rolled.status, to_json(rolled).decode(), a.recipient_count if a else 0, number
    if a is None:
        return *head, None, None, None, None, None, [], {}
    return *head, a.app, a.reference, a.sender, a.subject_line, a.rfc_message_id, list(a.tags), dict(a.metadata)


def _readable(row: asyncpg.Record) -> tuple[Any, ...]:
    *texts, tags, metadata = tuple(row)[1:]
    return *texts, json.loads(tags), json.loads(metadata)


def _same(expected: Mapping[Name, object], found: Mapping[Name, object], what: str) -> None:
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key, "none") != found.get(key, "none")]
    first = [f"{key}\n  expected {expected.get(key, 'none')}\n  found    {found.get(key, 'none')}" for key in wrong[:3]]
    assert not wrong, f"{len(wrong)} times the {what} is not as folded:\n" + "\n".join(first)


def _hold_told(told: Iterable[Mapping[str, Any]], rows: Mapping[str, asyncpg.Record]) -> None:
    """The newest word on each message is its row's, and no word is of a version that is yet to come."""
    newest: dict[str, dict[str, Any]] = {}
    said: dict[str, dict[str, Any]] = {}
    for each in told:
        data, row = each["data"], rows[each["subject"]]
        assert data["version"] <= row["version"], f"{each} was told, and is {row}"
        assert said.setdefault(each["id"], data) == data, f"{each} is not what was told under the same id before"
        newest[each["subject"]] = max(data, newest.get(each["subject"], data), key=lambda said: said["version"])
    expected = {
        id_: {
            "status": row["status"],
            "rollup": from_json(row["rollup"]),
            "reference": row["reference"],
            "app": row["app"],
        }
        for id_, row in rows.items()
    }
    found = {id_: {"reference": None, "app": None} | data for id_, data in newest.items()}
    for each in found.values():
        each.pop("version")
    _same(expected, found, "status told")
