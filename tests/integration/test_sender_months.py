"""The months of the sender's queue: dropped when all in them is done, and never before; and what is counted there."""

from __future__ import annotations

import asyncio
import json
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

from sender import housekeeping, stock
from sender.housekeeping import TABLES
from sender.suppression_store import Suppressions
from tests.conftest import eventually
from tests.unit.samples import uuid7_at
from tracepost import partitions, postgres
from tracepost.months import AHEAD, Month, kept, month
from tracepost.partitions import NotKept
from tracepost.postgres import Connection, Pool
from tracepost.runner import background

NOW = datetime.now(UTC)
HERE = month(NOW)
RETENTION = 2
MONTHS = kept(NOW, RETENTION)
OLD = HERE.plus(-RETENTION - 1)
STATES = ("ready", "waiting", "leased", "in_doubt", "parked")
SQL = postgres.load("sender")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """A queue whose months reach back by three more than are kept."""
    async with postgres.connected(database, "sender") as pool:
        await housekeeping.begin(pool, RETENTION + 3)
        await drop(pool, OLD.plus(-1), OLD.plus(-2))
        yield pool


async def drop(pool: Pool, *months: Month) -> None:
    for each in months:
        await pool.execute(f"DROP TABLE requests_{each}, deliveries_{each}")


async def make(pool: Pool, back: int) -> None:
    await partitions.keep(pool, TABLES, kept(NOW, RETENTION + back))


def id_in(which: Month) -> UUID:
    """An id of the middle of a month; of the present one, of now."""
    return uuid7() if which == HERE else uuid7_at(datetime(*which, 15, tzinfo=UTC).timestamp())


async def put(
    pool: Pool | Connection,
    message_id: UUID,
    *states: str,
    lane: str = "normal",
    due: timedelta = timedelta(),
) -> None:
    """A request with a delivery in each of these states."""
    await pool.execute("INSERT INTO requests (message_id, digest, app, open) VALUES ($1, '', 'app', 1)", message_id)
    await pool.executemany(
        "INSERT INTO deliveries (message_id, recipient_no, app, recipient, destination, address_key, lane, state,"
        " due_at, expires_at, park_unknown)"
        " VALUES ($1, $2, 'app', 'a@example.test', 'example.test', 'k', $3, $4, $5, now(), false)",
        [(message_id, number, lane, state, NOW + due) for number, state in enumerate(states)],
    )


async def tables(pool: Pool) -> set[str]:
    rows = await pool.fetch("SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'")
    return {row[0] for row in rows}


def of(months: Collection[Month]) -> set[str]:
    return {f"{table}_{each}" for table in ("requests", "deliveries") for each in months}


async def left(pool: Pool) -> set[Month]:
    """The months that are there; none by half."""
    found = await partitions.made(pool, TABLES)
    assert await tables(pool) == of(found)
    return found


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"tracepost_{name}", labels)


async def test_months_are_made_with_room_for_what_is_written_again(pool: Pool) -> None:
    assert await left(pool) == {OLD, *MONTHS}
    rows = await pool.fetch(
        "SELECT relname::text, reloptions::text FROM pg_class WHERE relispartition AND relkind = 'r'"
    )
    assert {(name.partition("_")[0], options) for name, options in rows} == {
        ("requests", "{fillfactor=90}"),
        ("deliveries", "{fillfactor=70}"),
    }


async def test_what_may_be_sent_now_has_its_place(pool: Pool) -> None:
    for age in (timedelta(days=-1), timedelta(), timedelta(days=7)):
        message_id = uuid7_at((NOW - age).timestamp())
        assert MONTHS.cover(str(message_id))
        await put(pool, message_id, "ready")


async def test_a_request_without_a_month_fails_alone(pool: Pool) -> None:
    for which in (OLD.plus(-1), HERE.plus(AHEAD + 1)):
        assert not MONTHS.cover(str(id_in(which)))
        with pytest.raises(asyncpg.CheckViolationError, match="no partition of relation"):
            await put(pool, id_in(which), "ready")
    await put(pool, id_in(HERE), "ready")


async def test_a_month_goes_when_its_time_is_over_and_all_in_it_is_done(pool: Pool) -> None:
    for each in (OLD, *MONTHS):
        await put(pool, id_in(each), "done", "done")
    assert await housekeeping.once(pool, RETENTION) == {}
    assert await left(pool) == set(MONTHS)
    assert await pool.fetchval("SELECT count(*) FROM requests") == len(set(MONTHS))


async def test_it_stays_until_its_time_is_over(pool: Pool) -> None:
    await put(pool, id_in(OLD), "done")
    assert await housekeeping.once(pool, RETENTION + 1) == {}
    assert await left(pool) == {OLD, *MONTHS}


@pytest.mark.parametrize("state", STATES)
async def test_it_stays_until_all_in_it_is_done(pool: Pool, state: str) -> None:
    await put(pool, id_in(OLD), "done", state, "done", state)
    await put(pool, id_in(HERE), *STATES)
    assert await housekeeping.once(pool, RETENTION) == {OLD: {state: 2}}
    assert await left(pool) == {OLD, *MONTHS}
    assert (metric("partition_months_unfinished"), metric("partition_unfinished", what=state)) == (1, 2)
    assert metric("partition_oldest_unfinished_timestamp_seconds") == datetime(*OLD, 1, tzinfo=UTC).timestamp()
    await pool.execute("UPDATE deliveries SET state = 'done'")
    assert await housekeeping.once(pool, RETENTION) == {}
    assert await left(pool) == set(MONTHS)
    assert (metric("partition_months_unfinished"), metric("partition_unfinished", what=state)) == (0, None)
    assert metric("partition_oldest_unfinished_timestamp_seconds") == 0


async def publish_later(pool: Pool, *message_ids: UUID) -> None:
    await pool.execute(
        "INSERT INTO outbox (message_id, name, event) SELECT id, 'delivered', '' FROM unnest($1::uuid[]) AS id",
        message_ids,
    )


async def test_it_stays_until_all_of_it_is_published(pool: Pool) -> None:
    old = id_in(OLD)
    await put(pool, old, "done")
    await publish_later(pool, id_in(HERE), old, id_in(OLD.plus(-1)))
    assert await housekeeping.once(pool, RETENTION) == {OLD: {"unpublished": 1}}
    assert await left(pool) == {OLD, *MONTHS}
    assert metric("partition_unfinished", what="unpublished") == 1
    await pool.execute("DELETE FROM outbox WHERE message_id = $1", old)
    assert await housekeeping.once(pool, RETENTION) == {}
    assert await left(pool) == set(MONTHS)


async def test_what_is_not_done_does_not_hold_up_later_months(pool: Pool) -> None:
    await make(pool, 3)
    await put(pool, id_in(OLD.plus(-2)), "parked")
    assert await housekeeping.once(pool, RETENTION) == {OLD.plus(-2): {"parked": 1}}
    assert await left(pool) == {OLD.plus(-2), *MONTHS}


async def test_too_many_months_are_never_dropped_at_once(pool: Pool) -> None:
    await make(pool, 3)
    with pytest.raises(NotKept, match=rf"by hand: DROP TABLE requests_{OLD.plus(-2)}, .*deliveries_{OLD}$"):
        await partitions.keep(pool, TABLES, MONTHS)
    assert await left(pool) == {OLD.plus(-2), OLD.plus(-1), OLD, *MONTHS}


@asynccontextmanager
async def transaction(database: str) -> AsyncIterator[Connection]:
    """Somebody else's; it is committed at the end."""
    async with (
        asyncpg.create_pool(database, min_size=1, max_size=1) as own,
        own.acquire() as connection,
        connection.transaction(),
    ):
        yield connection


async def test_what_is_committed_at_the_last_moment_is_not_dropped(database: str, pool: Pool) -> None:
    async with transaction(database) as other:
        await put(other, id_in(OLD), "ready")
        keeping = asyncio.create_task(partitions.keep(pool, TABLES, MONTHS))
        await eventually(lambda: waits(database, keeping))
    await asyncio.gather(keeping, return_exceptions=True)  # it may have given up the wait
    assert await housekeeping.once(pool, RETENTION) == {OLD: {"ready": 1}}
    assert await left(pool) == {OLD, *MONTHS}


async def waits(database: str, keeping: asyncio.Task[None]) -> bool:
    """Whether the task waits for a table, or did so before this could be seen."""
    async with transaction(database) as other:
        return keeping.done() or await other.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE datname = current_database() AND locktype = 'relation' AND NOT granted)"
        )


@pytest.mark.parametrize("tables", [("requests", "deliveries"), ("deliveries", "requests")])
async def test_who_comes_to_one_table_after_the_other_is_not_held_up(
    database: str, pool: Pool, tables: tuple[str, str]
) -> None:
    await put(pool, id_in(OLD), "done")
    async with transaction(database) as other:
        await other.execute(f"LOCK TABLE {tables[0]} IN ROW EXCLUSIVE MODE")
        keeping = asyncio.create_task(partitions.keep(pool, TABLES, MONTHS))
        await eventually(lambda: waits(database, keeping))
        await other.execute(f"SET LOCAL lock_timeout = '100ms'; LOCK TABLE {tables[1]} IN ROW EXCLUSIVE MODE")
    await asyncio.gather(keeping, return_exceptions=True)  # it may have given up the wait
    await partitions.keep(pool, TABLES, MONTHS)
    assert await left(pool) == set(MONTHS)


async def test_processes_that_keep_house_at_once(database: str, pool: Pool) -> None:
    await put(pool, id_in(OLD), "done")
    await drop(pool, HERE.plus(AHEAD))

    async def process() -> None:
        async with postgres.connected(database, "sender", size=1) as own:
            assert await housekeeping.once(own, RETENTION) == {}

    await asyncio.gather(*(process() for _ in range(8)))
    assert await left(pool) == set(MONTHS)


async def test_old_keys_are_forgotten(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "AT_ONCE", 2)
    await pool.execute(
        "INSERT INTO idempotency_keys (client, key, message_id, digest, created_at)"
        " SELECT 'shop', days, gen_random_uuid(), '', now() - days * interval '1 day' + interval '1 minute'"
        " FROM generate_series(5, 12) AS days"
    )
    await housekeeping.once(pool, RETENTION)
    assert [row[0] for row in await pool.fetch("SELECT key FROM idempotency_keys ORDER BY key")] == ["5", "6", "7"]


async def test_what_is_not_done_is_counted_by_lane_and_state(pool: Pool) -> None:
    await put(pool, id_in(HERE), *STATES, "done", "ready", due=timedelta(minutes=-1))
    await put(pool, id_in(HERE.plus(-1)), "ready", due=timedelta(hours=-1))
    await put(pool, id_in(HERE), "waiting", "waiting", lane="bulk", due=timedelta(hours=1))
    await housekeeping.once(pool, RETENTION)
    found = {(lane, s): metric("queue_deliveries", lane=lane, state=s) for lane in ("normal", "bulk") for s in STATES}
    assert [found["normal", state] for state in STATES] == [3, 1, 1, 1, 1]
    assert [found["bulk", state] for state in STATES] == [0, 2, 0, 0, 0]
    assert 3600 <= (metric("queue_oldest_ready_seconds", lane="normal") or 0) < 7000
    assert metric("queue_oldest_ready_seconds", lane="bulk") == 0


async def test_who_is_due_and_was_not_made_ready_counts_as_ready(pool: Pool) -> None:
    await put(pool, id_in(HERE), "leased", "waiting", due=timedelta(hours=-1))
    await housekeeping.once(pool, RETENTION)
    assert 3600 <= (metric("queue_oldest_ready_seconds", lane="normal") or 0) < 7000


async def test_counting_gives_up_in_time(database: str, pool: Pool) -> None:
    async with transaction(database) as other:
        await other.execute("LOCK TABLE deliveries")
        with pytest.raises(asyncpg.QueryCanceledError):
            await stock.queued(pool, timedelta(milliseconds=1))
    assert await pool.fetchval("SHOW statement_timeout") == "0"


async def test_what_could_not_be_counted_is_not_told(
    database: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await housekeeping.once(pool, RETENTION)
    assert metric("queue_deliveries", lane="bulk", state="parked") == 0
    monkeypatch.setattr(housekeeping, "COUNTED_WITHIN", timedelta(milliseconds=1))

    async def silent() -> bool:
        return metric("queue_deliveries", lane="bulk", state="parked") is None

    async with transaction(database) as other:
        await other.execute("LOCK TABLE deliveries")
        async with background(housekeeping.keep_house(pool, RETENTION)):
            await eventually(silent)
    assert metric("queue_oldest_ready_seconds", lane="bulk") is None


async def test_a_month_that_is_kept_is_told_again_only_when_something_changed(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 0.01)
    await put(pool, id_in(OLD), "parked", "parked", "waiting")

    async def told(times: int) -> bool:
        return len([each for each in logs if each["event"] == "a month is kept beyond its time"]) == times

    with capture_logs() as logs:
        async with background(housekeeping.keep_house(pool, RETENTION)):
            await eventually(lambda: told(1))
            await pool.execute("UPDATE deliveries SET state = 'done' WHERE state = 'waiting'")
            await eventually(lambda: told(2))
    assert [each["unfinished"] for each in logs] == [{"parked": 2, "waiting": 1}, {"parked": 2}]
    assert {each["month"] for each in logs} == {str(OLD)}


async def test_housekeeping_tells_of_months_ahead(pool: Pool) -> None:
    await drop(pool, HERE.plus(1))
    await housekeeping.once(pool, RETENTION)
    assert metric("partition_months_ahead") == AHEAD


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_one_month_is_looked_at_by_its_indexes(database: str, pool: Pool, mode: str) -> None:
    values = f"'{OLD.bound}', '{OLD.plus(1).bound}'"
    async with transaction(database) as other:
        await other.execute(f"SET LOCAL plan_cache_mode = {mode}; SET LOCAL enable_seqscan = off")
        await other.execute(f"PREPARE unfinished AS {SQL['unfinished']}")
        plan = json.loads(await other.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE unfinished({values})"))
    assert all(str(OLD) in name for name in indexes(plan[0]["Plan"]))
    assert len(indexes(plan[0]["Plan"])) == 3


async def test_what_is_done_is_not_read_to_count_what_is_not(database: str, pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO deliveries"
        " SELECT gen.id, n, 'app', 'a', 'd', 'k', 'normal', 'done', now(), now(), 1, 1, false, false, false"
        " FROM generate_series(1, 2000) AS n, (SELECT $1::uuid AS id) AS gen",
        id_in(HERE),
    )
    await pool.execute("ANALYZE deliveries")
    async with transaction(database) as other:
        await other.fetch(SQL["bound"], "5000")
        plan = json.loads(await other.fetchval(f"EXPLAIN (FORMAT JSON) {SQL['queued']}"))
    found = indexes(plan[0]["Plan"])
    assert len(found) == 3 * len({OLD, *MONTHS})
    assert not [name for name in found if name.endswith("pkey")]


def indexes(node: dict[str, Any]) -> list[str]:
    """The indexes that a plan reads; there must be no other scan of a partition."""
    assert not (node["Node Type"] == "Seq Scan" and node["Relation Name"] != "outbox"), node
    here = [node["Index Name"]] if "Index Name" in node else []
    return here + [name for each in node.get("Plans", []) for name in indexes(each)]


async def test_decisions_are_forgotten_with_the_months(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "AT_ONCE", 2)
    await pool.executemany(
        "INSERT INTO decisions (at, by, what, target, recipients, reason) VALUES ($1, 'ann', 'pause', '*', '{}', '')",
        [(NOW - timedelta(days=days),) for days in (0, 20, 150, 160, 170, 180, 190)],
    )
    await housekeeping.once(pool, RETENTION)
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 2


async def test_who_is_to_be_erased_is_forgotten_once_the_delivery_is_done(pool: Pool) -> None:
    done, open_, others = id_in(HERE), id_in(HERE), id_in(HERE)
    await put(pool, done, "done")
    await put(pool, open_, "waiting")
    await put(pool, others, "done")
    await pool.execute("UPDATE deliveries SET said = 'no mailbox a@example.test'")
    await Suppressions(pool).learn([], {"k": NOW}, [(done, 0), (open_, 0), (uuid7(), 0)])
    await housekeeping.once(pool, RETENTION)
    kept = "SELECT message_id, recipient || coalesce(said, '') FROM deliveries"
    words = "a@example.testno mailbox a@example.test"
    assert {row[0]: row[1] for row in await pool.fetch(kept)} == {done: "", open_: words, others: words}
    await pool.execute("UPDATE deliveries SET state = 'done' WHERE message_id = $1", open_)
    await housekeeping.once(pool, RETENTION)
    assert {row[0]: row[1] for row in await pool.fetch(kept)} == {done: "", open_: "", others: words}
    assert await pool.fetchval("SELECT count(*) FROM erasures") == 0
    [(address, key)] = [each[:2] for each in (await Suppressions(pool).recipients([(done, 0)])).values()]
    assert (address, key) == (None, "k")
