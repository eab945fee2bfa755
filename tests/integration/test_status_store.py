"""status-store against a real PostgreSQL: every event once, every status right whatever the order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from status_store import housekeeping
from status_store.fold import fold
from status_store.record import record
from status_store.store import Store
from tests import stored
from tests.conftest import KEYRING
from tracepost import partitions, postgres
from tracepost.events import (
    Accepted,
    AnyEvent,
    Bounced,
    Complained,
    Delivered,
    Erased,
    Opened,
    StatusChanged,
    Withdrawn,
    event,
)

START = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with postgres.connected(database, "status_store") as pool:
        store = Store(pool, retention=13, keyring=KEYRING)
        await partitions.keep(pool, housekeeping.TABLES, store.months)
        yield store


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def accepted(message_id: UUID, number: int = 0, count: int = 1) -> AnyEvent:
    data = Accepted(
        recipient=f"r{number}@example.test",
        recipient_count=count,
        sender="s@example.test",
        subject_line="Hello",
        rfc_message_id="<x@example.test>",
        app="app",
        reference="ticket-1",
        tags=("a", "b"),
        metadata={"k": "v"},
        track_opens="full",
        has_html=True,
        size=1,
    )
    return event("sender", message_id, number, data, time=at(0))


def history(message_id: UUID, number: int) -> list[AnyEvent]:
    """A delivery with everything that can happen to it."""
    opens = [Opened(verdict=verdict, rule="x") for verdict in ("person", "prefetched", "person", "bot")]
    return [
        accepted(message_id, number, count=3),
        event("sender", message_id, number, Delivered(origin="smtp", response="ok"), time=at(1)),
        *(event("pixel", message_id, number, each, time=at(2 + n)) for n, each in enumerate(opens)),
        *([event("api", message_id, number, Withdrawn(by="x"), time=at(3))] if number == 1 else []),
        *(
            [
                event(
                    "b", message_id, number, Bounced(bounce_class="hard", category="invalid_recipient", origin="dsn")
                ),
                event("b", message_id, number, Complained(feedback_type="abuse", origin="arf"), time=at(9)),
                event("b", message_id, number, Complained(feedback_type="not-spam", origin="arf"), time=at(10)),
            ]
            if number == 2
            else []
        ),
    ]


async def test_shuffled_and_repeated_by_racing_workers_equals_the_pure_fold(store: Store) -> None:
    ids = [uuid7() for _ in range(20)]
    events = [each for message_id in ids for number in range(3) for each in history(message_id, number)]
    chance = random.Random(20261123)
    copies = events * 3
    chance.shuffle(copies)
    batches = [copies[start : start + 25] for start in range(0, len(copies), 25)]

    async def worker(share: list[list[AnyEvent]]) -> None:
        for batch in share:
            assert await record(store, batch) == {}

    await asyncio.gather(*(worker(batches[start::4]) for start in range(4)))
    for message_id in ids:
        found = await stored.message(store, message_id)
        assert found is not None
        row, deliveries = found
        for number in range(3):
            mine = [each for each in events if (each.message_id, each.recipient_no) == (message_id, number)]
            assert deliveries[number] == fold(mine)
        assert row["status"] == "hard_bounce"
        assert row["rollup"]["counts"] == {"hard_bounce": 1, "read": 2}
        assert (row["app"], row["reference"], row["tags"]) == ("app", "ticket-1", ["a", "b"])


async def test_an_orphan_waits_for_its_message(store: Store) -> None:
    message_id = uuid7()
    await record(store, [event("pixel", message_id, 0, Opened(verdict="person", rule="x"))])
    row, _ = await stored.message(store, message_id) or ({}, {})
    assert (row["status"], row["recipient_count"]) == ("read", 0)
    await record(store, [accepted(message_id)])
    row, _ = await stored.message(store, message_id) or ({}, {})
    assert (row["status"], row["recipient_count"], row["reference"]) == ("read", 1, "ticket-1")


async def test_what_is_about_no_delivery_is_refused_alone(store: Store) -> None:
    good = accepted(uuid7())
    status = event("status-store", uuid7(), None, StatusChanged(status="read", version=1))
    address = good.model_copy(
        update={"subject": "recipient/abc", "data": Erased(by="x", address_key="abc"), "id": uuid7()}
    )
    refused = await record(store, [status, good, address])
    assert {index: each.code for index, each in refused.items()} == {0: "no-delivery"}
    assert await stored.message(store, good.message_id) is not None


async def numbers(database: str) -> list[tuple[int, int]]:
    """Of every number how many messages changed under it."""
    connection = await asyncpg.connect(database)
    rows = await connection.fetch("SELECT number, cardinality(message_ids) FROM changes ORDER BY number")
    await connection.close()
    return [tuple(row) for row in rows]


async def test_changes_are_numbered_without_holes_and_only_for_new_rollups(store: Store, database: str) -> None:
    message_id = uuid7()
    opened = [event("pixel", message_id, 0, Opened(verdict="person", rule="x")) for _ in range(3)]
    for each in (accepted(message_id), *opened):
        await record(store, [each])
        assert await store.number_changes(100)
    assert await numbers(database) == [(1, 1), (2, 1)]
    async with store.unpublished(1) as changes:
        assert [(change.status, change.version) for change in changes] == [("read", 4)]  # the newest state
    async with store.unpublished(100) as changes:
        assert [change.message_id for change in changes] == [str(message_id)]  # by the second number
    async with store.unpublished(100) as changes:
        assert changes == []


async def test_what_could_not_be_published_is_so_later(store: Store) -> None:
    await record(store, [accepted(uuid7())])
    await store.number_changes(100)
    with pytest.raises(ConnectionError):
        async with store.unpublished(100):
            raise ConnectionError
    async with store.unpublished(100) as changes:
        assert len(changes) == 1
        async with store.unpublished(100) as meanwhile:
            assert meanwhile == []  # another drainer is at it


async def test_racing_drainers_give_no_number_twice(store: Store, database: str) -> None:
    for _ in range(40):
        await record(store, [accepted(uuid7()), accepted(uuid7())])

    async def drain() -> None:
        while len(await numbers(database)) < 40:
            await store.number_changes(7)

    await asyncio.gather(*(drain() for _ in range(8)))
    assert await numbers(database) == [(number, 2) for number in range(1, 41)]


async def test_a_timeline_is_in_the_order_of_time(store: Store) -> None:
    message_id = uuid7()
    events = history(message_id, 2)
    await record(store, list(reversed(events)))
    told = await stored.timeline(store, message_id)
    assert [each["id"] for each in told] == [str(e.id) for e in sorted(events, key=lambda e: (e.time, e.id))]
