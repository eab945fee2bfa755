"""The plans of what the API reads: no big table is ever read through, whatever is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from status_store import housekeeping
from status_store.asked import Search, plan
from status_store.queries import looks
from status_store.store import Store
from tests.conftest import KEYRING
from tests.integration.test_search import NOW, combinations
from tracepost import months, partitions, postgres
from tracepost.postgres import Connection

SQL = postgres.load("status_store")
STORED = 30_000  # messages, one every two minutes
TERM = plan(Search(recipient="ann@example.org"), None, KEYRING.address_key).terms[0]

FILL = (
    f"""CREATE TEMP TABLE ids AS
    SELECT n, (lpad(to_hex((extract(epoch FROM now() - n * interval '2 minutes') * 1000)::bigint), 12, '0')
        || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
        CASE WHEN n % 5 = 0 THEN 'hard_bounce' WHEN n % 3 = 0 THEN 'read' ELSE 'delivered' END AS status
    FROM generate_series(1, {STORED}) AS n""",
    """INSERT INTO messages (message_id, version, recipient_count, described_by, status, rollup, app, reference, sender)
    SELECT id, 2, 1, 0, status, '{}', 'app' || n % 3, 'T-' || n, 'a@example.com' FROM ids""",
    "INSERT INTO issues (message_id, status) SELECT id, status FROM ids WHERE n % 5 = 0",
    f"""INSERT INTO terms SELECT term, id, 0
    FROM ids, unnest(ARRAY[md5((n % 997)::text), md5('s'), md5('a' || n % 3), '{TERM}']::uuid[]) AS term""",
    "INSERT INTO deliveries SELECT id, 0, 1, status, '{}' FROM ids",
    """INSERT INTO events (message_id, event_id, recipient_no, type, time, body)
    SELECT id, gen_random_uuid(), 0, 'accepted', now(), '{}' FROM ids""",
    "INSERT INTO changes (number, message_ids) SELECT n, ARRAY[id] FROM ids",
    f"UPDATE feed SET numbered = {STORED}",
    """INSERT INTO counters SELECT now() - n * interval '1 hour', 'app' || n % 3, 'status', 'read', 1 FROM ids""",
    "VACUUM ANALYZE",
)

# The tables with many rows, the months of what is stored among them; the other months are empty.
BIG = ("changes", "counters", *{str(months.month(NOW - timedelta(minutes=2 * n))) for n in (0, STORED)})

# Parameters of the other statements, for some message.
READS = {
    "points": ("{{{id}}}", "{id}", "{id}"),
    "delivery_events": ("{id}", 0),
    "timeline": ("{id}",),
    "changes_after": (STORED - 10, 1, 100),
    "counted": (NOW - timedelta(days=7), NOW, "hour", "app1"),
    "deliveries_to": (TERM, UUID(int=2**128 - 1), "app1"),
    "export_page": (TERM, UUID(int=0), 0, None, 100),
}


@pytest.fixture
async def filled(database: str) -> AsyncIterator[Connection]:
    async with postgres.connected(database, "status_store") as pool, pool.acquire() as connection:
        await partitions.keep(pool, housekeeping.TABLES, Store(pool, 3, KEYRING).months)
        for each in FILL:
            await connection.execute(each)
        yield connection


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_no_big_table_is_read_through(filled: Connection, mode: str) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    for name, sql in ({name: SQL[name] for name in READS} | looks).items():
        await filled.execute(f"PREPARE {name} AS {sql}")
    id_ = await filled.fetchval("SELECT id FROM ids WHERE n = 100")
    for name, told in READS.items():
        values: list[object] = [each.format(id=id_) if isinstance(each, str) else each for each in told]
        assert await read_through(filled, name, values) == []
    walked = set()
    for asked in combinations():
        if "from" in asked:
            asked |= {"from": NOW - timedelta(days=20), "to": NOW}
        wanted = plan(Search(**asked), asked.get("app"), KEYRING.address_key)
        values = [wanted.low, wanted.high, 100, *wanted[1:6]]
        assert await read_through(filled, wanted.walk, values) == [], asked
        walked.add(wanted.walk)
    assert walked == looks.keys()


async def test_what_reads_a_table_through_is_noticed(filled: Connection) -> None:
    await filled.execute("PREPARE by_sender AS SELECT * FROM messages WHERE sender = $1")
    await filled.execute("PREPARE all_ids AS SELECT message_id FROM messages ORDER BY message_id")
    assert await read_through(filled, "by_sender", ["a@example.com"])
    assert await read_through(filled, "all_ids", [])


async def read_through(connection: Connection, name: str, values: Iterable[object]) -> list[str]:
    """Where the plan reads a whole table, or a whole index: without a condition on it."""
    listed = ", ".join(map(_literal, values))
    [told] = json.loads(
        await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {name}{f'({listed})' if listed else ''}")
    )
    return [fault for node in _nodes(told["Plan"]) if (fault := _fault(node))]


def _fault(node: dict[str, Any]) -> str | None:
    kind, table = node["Node Type"], str(node.get("Relation Name", ""))
    through = kind == "Seq Scan" or (kind.startswith(("Index", "Bitmap Index")) and "Index Cond" not in node)
    return f"{kind} of {table}" if through and table.endswith(BIG) else None


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case tuple():
            return "'{" + ",".join(map(str, value)) + "}'"
    return f"'{value}'"
