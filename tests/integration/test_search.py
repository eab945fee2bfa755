"""Lists by any combination of filters: what is found, page by page, and that no big table is ever read through."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from status_store import housekeeping
from status_store.asked import Search, plan
from status_store.issues import Issues
from status_store.queries import Queries, looks
from status_store.record import record
from status_store.store import Store
from tests.conftest import KEYRING
from tests.unit.samples import uuid7_at
from tracepost import months, partitions, postgres
from tracepost.events import Accepted, AnyEvent, Bounced, Complained, Data, Delivered, Erased, Opened, event
from tracepost.postgres import Pool

NOW = datetime.now(UTC).replace(microsecond=0)
START = NOW - timedelta(days=40)
STORED = 30_000


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with postgres.connected(database, "status_store") as pool:
        yield pool


@pytest.fixture
async def store(pool: Pool) -> Store:
    store = Store(pool, 3, KEYRING)
    await partitions.keep(pool, housekeeping.TABLES, store.months)
    return store


def accepted(message_id: UUID, number: int = 0, **fields: Any) -> AnyEvent:
    told = {
        "recipient": "ann@example.org",
        "recipient_count": 1,
        "sender": "Support <support@example.com>",
        "subject_line": "Hello",
        "rfc_message_id": "<x@example.org>",
        "app": "shop",
        "track_opens": "full",
        "has_html": True,
        "size": 1,
    }
    return event("sender", message_id, number, Accepted(**told | fields))


async def found(store: Store, limit: int = 50, **asked: Any) -> list[str]:
    """The ids that all pages give, in their order."""
    queries, ids, cursor = Queries(store.pool), [], None
    while True:
        search = Search(**asked, cursor=cursor, limit=limit)
        rows, cursor = await queries.page(plan(search, search.app, KEYRING.address_key), limit)
        ids += [json.loads(row)["message_id"] for row in rows]
        if cursor is None:
            return ids


RETURNED = Bounced(bounce_class="hard", category="invalid_recipient", origin="smtp")
LATER: dict[str, list[Data]] = {
    "queued": [],
    "delivered": [Delivered(origin="smtp")],
    "hard_bounce": [RETURNED],
}
PEOPLE, TAGS, APPS = ("Ann@example.org", "bob@example.org", "cy@example.net"), ("vip", "new"), ("shop", "desk")


def scene() -> list[tuple[dict[str, Any], list[AnyEvent]]]:
    """Messages, two for each hour, with what they are found by."""
    told: list[tuple[dict[str, Any], list[AnyEvent]]] = []
    tags: tuple[str, ...]
    for n, (person, tags, app, status) in enumerate(itertools.product(PEOPLE, ((), TAGS[:1], TAGS), APPS, LATER)):
        at = START + timedelta(minutes=30 * n)
        message_id = uuid7_at(at.timestamp())
        sender = f"{app}@example.com"
        more = LATER[status]
        first = accepted(
            message_id, recipient=person, tags=tags, app=app, sender=f"It <{sender}>", reference=f"T-{n % 5}"
        )
        facts = {"recipient": person, "tag": tags, "app": app, "status": status, "sender": sender}
        known = facts | {"reference": f"T-{n % 5}", "at": at, "id": str(message_id)}
        told.append((known, [first, *(event("sender", message_id, 0, data) for data in more)]))
    return told


FILTERS: dict[str, Any] = {
    "recipient": "ANN@example.org",
    "tag": "vip",
    "app": "desk",
    "status": "issues",
    "sender": "Desk <desk@example.com>",
    "reference": "T-2",
    "from": START + timedelta(hours=3),
    "to": START + timedelta(hours=22),
    "unseen": True,
}


def fits(known: dict[str, Any], asked: dict[str, Any]) -> bool:
    """The plain meaning of every filter."""
    checks: dict[str, Callable[[Any], bool]] = {
        "recipient": lambda v: known["recipient"].lower() == v.lower(),
        "tag": lambda v: v in known["tag"],
        "app": lambda v: known["app"] == v,
        "status": lambda v: known["status"] == "hard_bounce",
        "sender": lambda v: known["sender"] == "desk@example.com",
        "reference": lambda v: known["reference"] == v,
        "from": lambda v: known["at"] >= v,
        "to": lambda v: known["at"] < v,
        "unseen": lambda v: known["status"] == "hard_bounce",
    }
    return all(checks[name](value) for name, value in asked.items())


def combinations() -> Iterator[dict[str, Any]]:
    for count in range(len(FILTERS) + 1):
        for names in itertools.combinations(FILTERS, count):
            yield {name: FILTERS[name] for name in names}


async def test_any_combination_of_filters_finds_what_fits_and_nothing_else(store: Store) -> None:
    known = scene()
    await record(store, [each for _, history in known for each in history])
    for asked in combinations():
        ids = await found(store, limit=7, **asked)
        fitting = [each["id"] for each, _ in reversed(known) if fits(each, asked)]
        assert ids == fitting, asked


async def test_every_recipient_finds_the_message_and_none_that_is_erased(store: Store) -> None:
    message_id = uuid7()
    await record(store, [accepted(message_id, 0), accepted(message_id, 1, recipient="bob@example.org")])
    assert await found(store, recipient="ann@example.org") == [str(message_id)]
    assert await found(store, recipient="Bob <BOB@example.org>") == [str(message_id)]
    erased = Erased(by="x", address_key=KEYRING.address_key("bob@example.org"))
    await record(store, [event("api", message_id, 1, erased)])
    assert await found(store, recipient="bob@example.org") == []
    assert await found(store, recipient="ann@example.org") == [str(message_id)]


async def test_an_issue_is_unseen_until_somebody_has_seen_it_and_again_when_it_is_another(store: Store) -> None:
    message_id, issues = uuid7(), Issues(store.pool)
    await record(store, [accepted(message_id), event("sender", message_id, 0, RETURNED)])
    assert await found(store, unseen=True) == [str(message_id)]
    await issues.see(message_id, "ann")
    assert await found(store, unseen=True) == []
    await record(store, [event("pixel", message_id, 0, Opened(verdict="person", rule="x"))])
    assert await found(store, unseen=True) == []
    complaint = Complained(feedback_type="abuse", origin="arf")
    await record(store, [event("bounces", message_id, 0, complaint)])
    assert await found(store, unseen=True, status="spam") == [str(message_id)]


async def test_an_issue_that_is_none_any_more_is_not_to_be_seen(store: Store) -> None:
    message_id = uuid7()
    abuse, undone = (Complained(feedback_type=kind, origin="arf") for kind in ("abuse", "not-spam"))
    await record(store, [accepted(message_id), event("b", message_id, 0, abuse, time=NOW)])
    assert await found(store, unseen=True) == [str(message_id)]
    await record(store, [event("b", message_id, 0, undone, time=NOW + timedelta(seconds=1))])
    assert await found(store, unseen=True) == []


FILL = (
    """CREATE TEMP TABLE ids AS
    SELECT n, (lpad(to_hex((extract(epoch FROM now() - n * interval '2 minutes') * 1000)::bigint), 12, '0')
        || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
        CASE WHEN n % 5 = 0 THEN 'hard_bounce' WHEN n % 3 = 0 THEN 'read' ELSE 'delivered' END AS status
    FROM generate_series(1, $1::int) AS n""",
    """INSERT INTO messages (message_id, version, recipient_count, described_by, status, rollup, app, reference, sender)
    SELECT id, 2, 1, 0, status, '{}', 'app' || n % 3, 'T-' || n, 'a@example.com' FROM ids""",
    "INSERT INTO issues (message_id, status) SELECT id, status FROM ids WHERE n % 5 = 0",
    """INSERT INTO terms SELECT term, id, 0
    FROM ids, unnest(ARRAY[md5((n % 997)::text)::uuid, md5('s')::uuid, md5('a' || n % 3)::uuid, $1]) AS term""",
    "VACUUM ANALYZE",
)


# The months of what is stored; the others are empty.
BIG = tuple({str(months.month(NOW - timedelta(minutes=2 * n))) for n in (0, STORED)})


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from nodes(each)


def read_through(plan: Iterable[dict[str, Any]]) -> list[str]:
    """Where a plan reads a whole table or index: without a condition on the index, and to its end."""
    bad = []
    for node in plan:
        table = str(node.get("Relation Name", ""))
        if not table.endswith(BIG):
            continue
        kind = node["Node Type"]
        if kind == "Seq Scan" or (kind.startswith(("Index", "Bitmap")) and "Index Cond" not in node):
            bad.append(f"{kind} of {table}")
    return bad


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_no_combination_of_filters_reads_a_big_table_through(store: Store, pool: Pool, mode: str) -> None:
    key = UUID(plan(Search(recipient="ann@example.org"), None, KEYRING.address_key).terms[0])
    async with pool.acquire() as connection:
        for each in FILL[:3]:
            await connection.execute(each, *([STORED] if "$1" in each else []))
        await connection.execute(FILL[3], key)
        await connection.execute(FILL[4])
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for walk, sql in looks.items():
            await connection.execute(f"PREPARE {walk} AS {sql}")
        seen = set()
        for asked in combinations():
            if "from" in asked:
                asked |= {"from": NOW - timedelta(days=20), "to": NOW}
            wanted = plan(Search(**asked), asked.get("app"), KEYRING.address_key)
            values = ", ".join(map(literal, (wanted.low, wanted.high, 100, *wanted[1:6])))
            [told] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {wanted.walk}({values})"))
            assert read_through(nodes(told["Plan"])) == [], (asked, told)
            seen.add(wanted.walk)
    assert seen == looks.keys()


def literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value)
        case tuple():
            return "'{" + ",".join(map(str, value)) + "}'"
    return f"'{value}'"


async def test_a_plan_that_reads_a_table_through_is_noticed(pool: Pool, store: Store) -> None:
    async with pool.acquire() as connection:
        for each in FILL[:2]:
            await connection.execute(each, *([STORED] if "$1" in each else []))
        await connection.execute(FILL[4])
        [told] = json.loads(
            await connection.fetchval("EXPLAIN (FORMAT JSON) SELECT * FROM messages WHERE sender = 'a@example.com'")
        )
    assert read_through(nodes(told["Plan"]))
