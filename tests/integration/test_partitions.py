"""Partitions on a real PostgreSQL: made and dropped by months, without holding others up, and never too many."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7
from yarl import URL

from status_store import housekeeping
from status_store.housekeeping import TABLES
from status_store.record import record
from status_store.store import Store
from tests import stored
from tests.conftest import KEYRING, eventually
from tests.unit.samples import DATA, uuid7_at
from tracepost import metrics, partitions, postgres
from tracepost.events import Accepted, AnyEvent, Opened, event
from tracepost.months import AHEAD, Month, Months, kept, month
from tracepost.partitions import NotKept, OutOfMonths
from tracepost.postgres import Pool
from tracepost.runner import Unavailable, background

NOW = datetime.now(UTC)
HERE = month(NOW)
RETENTION = 3
MONTHS = kept(NOW, RETENTION)
SQL = postgres.load("status_store")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with postgres.connected(database, "status_store") as pool:
        yield pool


@pytest.fixture
async def store(pool: Pool) -> Store:
    await partitions.keep(pool, TABLES, MONTHS)
    return Store(pool, RETENTION, keyring=KEYRING)


@pytest.fixture
async def other(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Somebody else at the database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


def id_in(which: Month) -> UUID:
    """An id of the middle of a month; of the present one, of now."""
    return uuid7() if which == HERE else uuid7_at(datetime(*which, 15, tzinfo=UTC).timestamp())


def accepted(message_id: UUID) -> AnyEvent:
    assert isinstance(DATA[0], Accepted)
    return event("sender", message_id, 0, DATA[0])


def opened(message_id: UUID) -> AnyEvent:
    return event("pixel", message_id, 0, Opened(verdict="person", rule="x"))


async def tables(pool: Pool) -> set[str]:
    rows = await pool.fetch("SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'")
    return {row[0] for row in rows}


def of(months: Collection[Month] | Months) -> set[str]:
    return {f"{table}_{each}" for table in TABLES.fillfactors for each in months}


async def messages(pool: Pool) -> set[UUID]:
    """The ids that have an event, a message, a delivery and terms each."""
    tables = TABLES.fillfactors.keys() - {"issues"}  # of which there are none
    found = [{row[0] for row in await pool.fetch(f"SELECT message_id FROM {table}")} for table in tables]
    assert all(each == found[0] for each in found)
    return found[0]


async def drop(pool: Pool, *months: Month) -> None:
    for name in of(months):
        await pool.execute(f"DROP TABLE {name}")


@asynccontextmanager
async def locked(database: str, lock: str) -> AsyncIterator[None]:
    """Somebody holds a lock while the block lasts."""
    holder = await asyncpg.connect(database)
    try:
        await holder.execute(f"BEGIN; {lock}")
        yield
    finally:
        await holder.close()


async def test_months_are_made_once(pool: Pool) -> None:
    await partitions.keep(pool, TABLES, MONTHS)
    assert await tables(pool) == of([HERE.plus(count) for count in range(-RETENTION, AHEAD + 1)])
    assert await partitions.made(pool, TABLES) == set(MONTHS)
    identities = await pool.fetch("SELECT oid FROM pg_class WHERE relispartition ORDER BY oid")
    await partitions.keep(pool, TABLES, MONTHS)
    assert await pool.fetch("SELECT oid FROM pg_class WHERE relispartition ORDER BY oid") == identities


async def test_what_lacks_of_a_month_is_made(pool: Pool, store: Store) -> None:
    await pool.execute(f"DROP TABLE deliveries_{HERE}")
    assert await partitions.made(pool, TABLES) == set(MONTHS) - {HERE}
    await partitions.keep(pool, TABLES, MONTHS)
    assert await tables(pool) == of(MONTHS)
    assert await record(store, [accepted(uuid7())]) == {}


async def test_months_out_of_retention_go_with_their_rows_and_nothing_else(pool: Pool, store: Store) -> None:
    await partitions.keep(pool, TABLES, kept(NOW, RETENTION + 2))
    longer = Store(pool, RETENTION + 2, keyring=KEYRING)
    ids = {each: id_in(each) for each in kept(NOW, RETENTION + 2)}
    assert await record(longer, [accepted(each) for each in ids.values()]) == {}
    assert await messages(pool) == set(ids.values())
    await pool.execute("CREATE TABLE events_2001_01 (a integer); CREATE TABLE archive_2001_01 (LIKE events)")
    await pool.execute(
        f"ALTER TABLE events ATTACH PARTITION archive_2001_01 FOR VALUES FROM (MINVALUE) TO ('{UUID(int=1)}')"
    )
    await partitions.keep(pool, TABLES, MONTHS)
    assert await tables(pool) == of(MONTHS) | {"archive_2001_01"}
    assert await messages(pool) == {ids[each] for each in MONTHS}
    assert await pool.fetchval("SELECT to_regclass('events_2001_01')") is not None


async def test_too_many_months_are_never_dropped_at_once(pool: Pool) -> None:
    await partitions.keep(pool, TABLES, kept(NOW, RETENTION + 3))
    with pytest.raises(NotKept, match=r"clock and at RETENTION_MONTHS; .* by hand: DROP TABLE events_") as told:
        await partitions.keep(pool, TABLES, MONTHS)
    assert await tables(pool) == of(kept(NOW, RETENTION + 3))
    by_hand = re.search(r"DROP TABLE [\w, ]+", str(told.value))
    assert by_hand
    await pool.execute(by_hand[0])
    assert await tables(pool) == of(MONTHS)
    await partitions.keep(pool, TABLES, MONTHS)


@pytest.mark.parametrize("days", [-365, -32, 32, 365])
async def test_by_a_wrong_clock_nothing_is_made_and_nothing_dropped(pool: Pool, days: int) -> None:
    await partitions.keep(pool, TABLES, kept(NOW, 1))
    with pytest.raises(NotKept, match=rf"this machine says .*, that of PostgreSQL {HERE}: set the wrong one right"):
        await partitions.keep(pool, TABLES, kept(NOW + timedelta(days=days), 1))
    assert await tables(pool) == of(kept(NOW, 1))


async def test_processes_that_keep_at_once(database: str, pool: Pool) -> None:
    await partitions.keep(pool, TABLES, kept(NOW, RETENTION + 1))
    await drop(pool, *(HERE.plus(count) for count in range(AHEAD + 1)))

    async def process() -> None:
        async with postgres.connected(database, "status_store", size=1) as own:
            await partitions.keep(own, TABLES, MONTHS)

    await asyncio.gather(*(process() for _ in range(8)))
    assert await tables(pool) == of(MONTHS)


async def works(store: Store) -> None:
    """Recording and reading are not held up for long."""
    message_id = uuid7()
    async with asyncio.timeout(10):
        assert await record(store, [accepted(message_id)]) == {}
        assert await stored.message(store, message_id) is not None


READER = "SELECT FROM events; SELECT FROM messages; SELECT FROM deliveries"


async def test_months_are_made_beside_readers_and_writers(database: str, pool: Pool, store: Store) -> None:
    await drop(pool, HERE.plus(AHEAD))
    lock = "; ".join(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE" for table in TABLES.fillfactors)
    async with locked(database, f"{READER}; {lock}"):  # as a dump or a long transaction does
        await partitions.keep(pool, TABLES, MONTHS)
        assert await tables(pool) == of(MONTHS)
        await works(store)


async def test_making_gives_up_on_a_lock_without_holding_others_up(database: str, pool: Pool, store: Store) -> None:
    await drop(pool, HERE.plus(AHEAD))
    async with locked(database, "LOCK TABLE ONLY messages IN SHARE UPDATE EXCLUSIVE MODE"):  # as VACUUM does
        keeping = asyncio.create_task(partitions.keep(pool, TABLES, MONTHS))
        await eventually(lambda: waits(database, keeping))
        await works(store)
        with pytest.raises(NotKept, match="lock timeout"):
            await keeping
    assert await tables(pool) == of(MONTHS) - of([HERE.plus(AHEAD)])
    await partitions.keep(pool, TABLES, MONTHS)
    assert await tables(pool) == of(MONTHS)


async def test_dropping_gives_up_on_a_reader_without_holding_others_up(database: str, pool: Pool, store: Store) -> None:
    old = HERE.plus(-RETENTION - 1)
    await partitions.keep(pool, TABLES, kept(NOW, RETENTION + 1))
    async with locked(database, READER):
        keeping = asyncio.create_task(partitions.keep(pool, TABLES, MONTHS))
        await eventually(lambda: waits(database, keeping))
        await works(store)
        with pytest.raises(NotKept, match="lock timeout"):
            await keeping
        assert await tables(pool) == of([old, *MONTHS])
    await partitions.keep(pool, TABLES, MONTHS)
    assert await tables(pool) == of(MONTHS)


async def waits(database: str, keeping: asyncio.Task[None]) -> bool:
    """Whether the task waits for a table, or did so before this could be seen."""
    connection = await asyncpg.connect(database)
    try:
        return keeping.done() or await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE datname = current_database() AND locktype = 'relation' AND NOT granted)"
        )
    finally:
        await connection.close()


async def test_what_has_no_place_is_refused_alone(store: Store) -> None:
    ids = [uuid7(), id_in(HERE.plus(-RETENTION - 1)), id_in(HERE.plus(AHEAD + 1)), uuid7()]
    refused = await record(store, [accepted(each) for each in ids])
    assert {index: each.code for index, each in refused.items()} == {1: "out-of-retention", 2: "out-of-retention"}
    assert [await stored.message(store, each) is not None for each in ids] == [True, False, False, True]


async def test_a_batch_waits_for_a_month_that_lacks(pool: Pool, store: Store) -> None:
    lacking = HERE.plus(-1)
    await drop(pool, lacking)
    batch = [accepted(uuid7()), accepted(id_in(lacking)), accepted(uuid7())]
    with pytest.raises(OutOfMonths):
        await record(store, batch)
    assert await messages(pool) == set()
    await partitions.keep(pool, TABLES, MONTHS)
    assert await record(store, batch) == {}
    assert await messages(pool) == {each.message_id for each in batch}


async def test_the_start_goes_on_without_months_that_are_not_needed_yet(
    database: str, pool: Pool, store: Store
) -> None:
    await drop(pool, HERE.plus(AHEAD))
    async with locked(database, "LOCK TABLE ONLY messages IN SHARE UPDATE EXCLUSIVE MODE"):
        with capture_logs() as logs:
            await housekeeping.begin(store, pool)
        assert [(each["log_level"], "lock timeout" in each["reason"]) for each in logs] == [("warning", True)]
        await works(store)
    await housekeeping.once(store, pool, timedelta(days=31))
    assert await tables(pool) == of(MONTHS)


async def test_the_start_is_refused_without_the_present_month(database: str, pool: Pool, store: Store) -> None:
    await drop(pool, HERE)
    async with locked(database, "LOCK TABLE ONLY messages IN SHARE UPDATE EXCLUSIVE MODE"):
        with pytest.raises(Unavailable, match=r"the present month has no partition .*lock timeout"):
            await housekeeping.begin(store, pool)
    await housekeeping.begin(store, pool)
    await works(store)


@pytest.fixture
async def clerk(database: str, pool: Pool, store: Store) -> AsyncIterator[str]:
    """The URL for a role that may read and write, and create nothing."""
    role = f"clerk_{secrets.token_hex(4)}"
    await pool.execute(f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    await pool.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    yield str(URL(database).with_user(role))
    await pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_who_may_not_make_months_starts_on_those_that_are_there(clerk: str, pool: Pool) -> None:
    async with postgres.connected(clerk, "status_store", migrate=False) as own:
        store = Store(own, RETENTION, keyring=KEYRING)
        with capture_logs() as logs:
            await housekeeping.begin(store, own)
            assert logs == []
            await works(store)
            await drop(pool, HERE.plus(AHEAD))
            await housekeeping.begin(store, own)
        assert ["permission denied" in each["reason"] for each in logs] == [True]


def metric(name: str) -> float:
    value = REGISTRY.get_sample_value(f"tracepost_{name}")
    assert value is not None
    return value


async def test_housekeeping_tells_of_orphans(pool: Pool, store: Store) -> None:
    orphans = [uuid7(), uuid7()]
    await record(store, [opened(orphans[0]), opened(orphans[1]), accepted(uuid7())])
    await pool.execute("UPDATE messages SET known_since = now() - interval '2 hours' WHERE message_id = $1", orphans[0])
    await housekeeping.once(store, pool, timedelta(days=31))
    assert metric("orphans") == 2
    assert 7200 <= metric("orphan_oldest_seconds") < 7300
    await record(store, [accepted(each) for each in orphans])
    await housekeeping.once(store, pool, timedelta(days=31))
    assert (metric("orphans"), metric("orphan_oldest_seconds")) == (0, 0)


async def test_housekeeping_tells_of_months_ahead_also_when_it_cannot_make_them(
    database: str, pool: Pool, store: Store
) -> None:
    await record(store, [opened(uuid7())])
    await drop(pool, HERE.plus(1))
    async with locked(database, "LOCK TABLE ONLY messages IN SHARE UPDATE EXCLUSIVE MODE"):
        await housekeeping.once(store, pool, timedelta(days=31))
    assert (metric("partition_months_ahead"), metric("orphans")) == (0, 1)
    await housekeeping.once(store, pool, timedelta(days=31))
    assert metric("partition_months_ahead") == AHEAD


async def test_housekeeping_begins_at_once(pool: Pool, store: Store) -> None:
    metrics.MONTHS_AHEAD.set(0)
    await drop(pool, HERE.plus(1))

    async def kept_house() -> bool:
        return metric("partition_months_ahead") == AHEAD

    async with background(housekeeping.keep_house(store, pool, timedelta(days=31))):
        await eventually(kept_house)
    assert await tables(pool) == of(MONTHS)


async def test_housekeeping_forgets_what_is_old_and_published(pool: Pool, store: Store) -> None:
    for _ in range(3):
        await record(store, [accepted(uuid7())])
        await store.number_changes(100)
    await pool.execute("UPDATE changes SET numbered_at = now() - interval '32 days' WHERE number <> 2")
    await pool.execute("UPDATE feed SET published = 2")
    await housekeeping.once(store, pool, timedelta(days=31))
    assert await numbers(pool) == [2, 3]
    await pool.execute("UPDATE feed SET published = 3")
    await housekeeping.once(store, pool, timedelta(days=31))
    assert await numbers(pool) == [2]


async def numbers(pool: Pool) -> list[int]:
    return [row[0] for row in await pool.fetch("SELECT number FROM changes ORDER BY number")]


# What is read by a statement, and its parameters for some ids between two others.
READ = {
    "lock_messages": ("messages", "'{ids}', '{low}', '{high}'"),
    "known_deliveries": ("deliveries", "'{ids}', NULL, '{low}', '{high}'"),
    "put_messages": ("messages", "NULL, '{low}', '{high}'"),
    "put_statuses": ("messages", "'{ids}', NULL, NULL, '{low}', '{high}'"),
    "histories": ("events", "'{ids}', NULL, '{low}', '{high}'"),
}


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("name", READ)
async def test_only_the_months_within_the_bounds_are_looked_at(
    other: asyncpg.Connection[asyncpg.Record], store: Store, name: str, mode: str
) -> None:
    await other.execute(f"SET plan_cache_mode = {mode}; PREPARE {name} AS {SQL[name]}")
    table, parameters = READ[name]
    for months in ([HERE], [HERE.plus(-1), HERE], list(MONTHS)):
        ids = [str(id_in(each)) for each in months]
        values = parameters.format(ids="{" + ",".join(ids) + "}", low=ids[0], high=ids[-1])
        plan = json.loads(await other.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {name}({values})"))
        assert scanned(plan[0]["Plan"]) == [f"{table}_{each}" for each in months]


def scanned(node: dict[str, Any]) -> list[str]:
    """The tables that a plan reads; what it may write, but does not read, is not among them."""
    here = [node["Relation Name"]] if "Relation Name" in node and node["Node Type"].endswith("Scan") else []
    return here + [table for each in node.get("Plans", []) for table in scanned(each)]
