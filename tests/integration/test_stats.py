"""Statistics: the counters are what a count of everything stored would say, however the events came."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from status_store import housekeeping
from status_store.queries import Queries
from status_store.record import record
from status_store.refold import Asked, applied, walked
from status_store.stats import told
from status_store.store import Store
from tests.conftest import KEYRING, eventually
from tests.running import ALL, OTHER, SHOP, running
from tests.unit.samples import uuid7_at
from tracepost import partitions, postgres
from tracepost.events import Accepted, AnyEvent, Bounced, Delivered, Opened, Verdict, event

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
APPS = ("shop", "desk")


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with postgres.connected(database, "status_store") as pool:
        store = Store(pool, 2, KEYRING)
        await partitions.keep(pool, housekeeping.TABLES, store.months)
        yield store


def history(n: int) -> list[AnyEvent]:
    """A message to two, of some hour, that fares somehow."""
    at = NOW - timedelta(hours=n % 5, minutes=-7)
    message_id = uuid7_at(at.timestamp())
    accepted = Accepted(
        recipient="ann@example.org",
        recipient_count=2,
        sender="s@example.org",
        subject_line="Hello",
        rfc_message_id="<x@example.org>",
        app=APPS[n % 2],
        track_opens="full",
        has_html=True,
        size=1,
    )
    told = [event("sender", message_id, number, accepted, time=at) for number in (0, 1)]
    if n % 3:
        told += [event("sender", message_id, 0, Delivered(origin="smtp"), time=at + timedelta(seconds=n))]
    if n % 4 == 1:
        verdict: Verdict = "person" if n % 8 == 1 else "bot"
        told += [event("pixel", message_id, 0, Opened(verdict=verdict, rule="x"), time=at + timedelta(hours=1))]
    if n % 5 == 2:
        bounced = Bounced(bounce_class="hard", category="invalid_recipient", origin="dsn")
        told += [event("bounces", message_id, 1, bounced, time=at + timedelta(minutes=1))]
    return told


async def counters(store: Store) -> dict[tuple[datetime, str, str, str], int]:
    while await store.number_changes(100):
        pass
    rows = await store.pool.fetch("SELECT hour, app, kind, value, count FROM counters WHERE count <> 0")
    return {(row["hour"], row["app"], row["kind"], row["value"]): row["count"] for row in rows}


async def recounted(store: Store, events: list[AnyEvent]) -> Counter[tuple[datetime, str, str, str]]:
    rows = await store.pool.fetch("SELECT message_id, app, status FROM messages")
    apps: dict[UUID, str] = {row["message_id"]: row["app"] for row in rows}
    counts = Counter((_hour(row["message_id"]), row["app"], "status", row["status"]) for row in rows)
    for each in events:
        hour, app = each.time.replace(minute=0, second=0, microsecond=0), apps[each.message_id]
        if isinstance(each.data, Bounced):
            counts[hour, app, "bounce", each.data.bounce_class] += 1
        if isinstance(each.data, Opened):
            counts[hour, app, "open", each.data.verdict] += 1
    return counts


def _hour(message_id: UUID) -> datetime:
    return datetime.fromtimestamp((message_id.int >> 80) / 1000, UTC).replace(minute=0, second=0, microsecond=0)


async def test_counters_are_right_whatever_the_order_and_the_repetition(store: Store) -> None:
    events = [each for n in range(60) for each in history(n)]
    # What comes before its `accepted` is counted under no app, which this is not about.
    rest = events * 3
    first: list[AnyEvent] = [each for each in events if isinstance(each.data, Accepted)]
    chance = random.Random(20261124)
    chance.shuffle(first)
    chance.shuffle(rest)

    async def worker(share: list[list[AnyEvent]]) -> None:
        for batch in share:
            await record(store, batch)

    for phase in (first, rest):
        batches = [phase[start : start + 20] for start in range(0, len(phase), 20)]
        await asyncio.gather(*(worker(batches[start::3]) for start in range(3)))
    found = await counters(store)
    times = {key: count for key, count in found.items() if key[2] == "delivery"}
    assert {key: count for key, count in found.items() if key not in times} == await recounted(store, events)
    assert sum(times.values()) == sum(isinstance(each.data, Delivered) for each in events)


async def test_an_orphan_is_counted_once_its_message_is_known(store: Store) -> None:
    events = history(4)
    await record(store, events[2:])
    assert {key[2] for key in await counters(store)} <= {"open", "bounce", "delivery"}
    await record(store, events[:2])
    assert [key[1:] for key in await counters(store) if key[2] == "status"] == [("shop", "status", "queued")]


async def test_a_refold_moves_what_is_counted(store: Store) -> None:
    events = [each for n in range(20) for each in history(n)]
    await record(store, events)
    before = await counters(store)
    wrong = "UPDATE messages SET status = 'failed' WHERE status = 'hard_bounce'"
    await store.pool.execute(wrong)
    await store.pool.execute("UPDATE counters SET value = 'failed' WHERE value = 'hard_bounce' AND kind = 'status'")
    await walked(lambda run: applied(store, Asked("all"), run), asyncio.Event())
    assert await counters(store) == before


async def test_what_is_out_of_retention_is_forgotten(store: Store) -> None:
    old = store.months.first.start - timedelta(hours=1)
    await store.pool.execute("INSERT INTO counters VALUES ($1, 'shop', 'open', 'bot', 1)", old)
    await store.forget_counts()
    assert await counters(store) == {}


async def test_days_are_sums_of_hours(store: Store) -> None:
    await record(store, [each for n in range(60) for each in history(n)])
    await counters(store)
    queries, span = Queries(store.pool), (NOW - timedelta(days=2), NOW + timedelta(days=1))
    hours = told(await queries.counted(*span, "hour", "shop"))
    days = told(await queries.counted(*span, "day", "shop"))
    assert len(hours["buckets"]) > len(days["buckets"])
    sums = [Counter[str]() for _ in range(2)]
    for total, each in zip(sums, (hours, days), strict=True):
        for bucket in each["buckets"]:
            total.update(bucket["counts"])
    assert sums[0] == sums[1]
    assert sums[0].total() == 30
    assert hours["opens"] == days["opens"]


async def test_the_api_tells_statistics_of_the_clients_app_alone(broker: str, database: str) -> None:
    async with running(broker, database) as service:
        await service.publish(*(each for n in range(10) for each in history(n)))

        async def all_counted() -> bool:
            told = await service.ask("GET", "/stats", key=ALL)
            return sum(sum(each["counts"].values()) for each in told["buckets"]) == 10

        await eventually(all_counted)
        told = await service.ask("GET", "/stats", by="day", key=SHOP)
        assert sum(sum(each["counts"].values()) for each in told["buckets"]) == 5
        assert told["time_to_delivery"]["count"] == 3
        assert 0 < told["time_to_delivery"]["p50"] <= 10
        assert (await service.ask("GET", "/stats", key=OTHER))["buckets"] == []
        assert (await service.answer("GET", "/stats", key=SHOP, app="desk"))[0] == 403
        too_long = {"from": (NOW - timedelta(days=33)).isoformat()}
        assert (await service.answer("GET", "/stats", key=SHOP, **too_long))[0] == 422
