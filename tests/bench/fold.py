"""From the queue to committed statuses, beside what PostgreSQL itself allows and what one event at a time costs."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from uuid import UUID

import asyncpg
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7

from local_stack.stack import create_database
from status_store import app, partitions
from status_store.fold import fold, to_json
from status_store.settings import StatusStoreSettings
from status_store.store import Store
from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong
from tests.bench.raw_amqp import Raw, encoded
from tracepost import events, postgres, topology
from tracepost.events import Accepted, AnyEvent, Data, Delivered, Opened, event

MESSAGES = 20_000
BATCH, TRANSACTION = 50, 1_000  # events in an AMQP message, and in one statement of the limit
NAIVE = 1_000
HISTORY: tuple[Data, ...] = (
    Accepted(
        recipient="ann@example.org",
        recipient_count=1,
        sender="Support <support@example.com>",
        subject_line="Your question about the order",
        rfc_message_id="<01890a5d-ac96-774b-bcce-b302099a8057@example.com>",
        app="helpdesk",
        reference="T-4711",
        track_opens="full",
        has_html=True,
        size=2048,
    ),
    Delivered(
        attempt=1,
        smtp_code=250,
        enhanced_code="2.0.0",
        response="2.0.0 Ok: queued as 4XyZ1",
        remote_mta="mx.example.org",
        remote_ip="192.0.2.1",
        tls="TLSv1.3",
        duration=0.25,
        origin="smtp",
    ),
    Opened(verdict="person", rule="no-proxy", client="Thunderbird", ip="192.0.2.0/24"),
)


@dataclass(frozen=True)
class Database:
    """A database with so many stored events: its URL, and where the server's others are made."""

    url: str
    stored: int


def histories(count: int) -> list[list[AnyEvent]]:
    """First what all messages have first, and so on: the events of one message are never near each other."""
    ids = [uuid7() for _ in range(count)]
    return [[event("sender", id_, 0, data) for id_ in ids] for data in HISTORY]


@asynccontextmanager
async def ours(database: Database, url: str) -> AsyncIterator[Work]:
    """The whole service, its drainer and subscribers' exchange included."""
    phases = histories(MESSAGES)
    frames = [_frame(phase[at : at + BATCH]) for phase in phases for at in range(0, len(phase), BATCH)]
    keys = "1:" + base64.b64encode(bytes(32)).decode()
    settings = {"amqp_url": url, "database_url": database.url, "token_keys": keys, "api_port": 0}
    async with app.service(StatusStoreSettings.model_validate(settings), {}):
        yield partial(_through_the_queue, url, frames, sum(map(len, phases)))
        with Raw(url) as raw:
            if left := raw.waiting(topology.STATUS_STORE_EVENTS.name):
                raise Wrong(f"{left} messages were not acknowledged")
    await _check(database, [each.message_id for each in phases[0]], "read")


def _frame(batch: Sequence[AnyEvent]) -> bytes:
    return encoded(topology.EVENTS, batch[0].name, events.join(map(events.encode, batch)), events.BATCH_TYPE)


async def _through_the_queue(url: str, frames: Sequence[bytes], count: int) -> int:
    enough = _committed() + count

    def publish() -> None:
        with Raw(url) as raw:
            raw.publish(frames)

    await asyncio.to_thread(publish)
    while _committed() < enough:
        await asyncio.sleep(0.05)  # what is asked for takes a millisecond
    return count


def _committed() -> float:
    return REGISTRY.get_sample_value("tracepost_fold_batch_events_sum") or 0


async def _check(database: Database, ids: Sequence[UUID], status: str) -> None:
    connection = await asyncpg.connect(database.url)
    right = await connection.fetchval(
        "SELECT count(*) FROM deliveries d WHERE message_id = ANY ($1::uuid[]) AND status = $2"
        " AND (SELECT count(*) FROM events e WHERE e.message_id = d.message_id) = $3",
        ids,
        status,
        len(HISTORY),
    )
    await connection.close()
    if right != len(ids):
        raise Wrong(f"of {len(ids)} deliveries {right} are {status} with {len(HISTORY)} events")


MERGE = """
WITH fresh AS (
    INSERT INTO events (message_id, event_id, recipient_no, type, time, body)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::timestamptz[], $6::json[])
    ON CONFLICT DO NOTHING
    RETURNING message_id, recipient_no, type, body
)
INSERT INTO deliveries AS d (message_id, recipient_no, rules_version, status, facts)
SELECT message_id, recipient_no, 0, CASE type WHEN 'opened' THEN 'read' ELSE type END, body FROM fresh
ON CONFLICT (message_id, recipient_no) DO UPDATE
SET status = excluded.status, facts = excluded.facts
"""


@asynccontextmanager
async def merge(database: Database, count: int, size: int, _: str) -> AsyncIterator[Work]:
    """One statement that inserts events and overwrites the delivery with the last of them: no queue, no fold."""
    phases = histories(count)
    batches = [phase[at : at + size] for phase in phases for at in range(0, len(phase), size)]
    columns = [
        list(zip(*[(e.message_id, e.id, 0, e.name, e.time, events.encode(e).decode()) for e in batch], strict=True))
        for batch in batches
    ]
    connection = await asyncpg.connect(database.url)
    statement = await connection.prepare(MERGE)

    async def work() -> int:
        for each in columns:
            await statement.fetch(*each)
        return sum(map(len, phases))

    yield work
    await connection.close()
    await _check(database, [each.message_id for each in phases[0]], "read")


FILL_IDS = """
CREATE TEMP TABLE ids AS
SELECT n, (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0')
    || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id
FROM generate_series(1, $1::int) AS n, LATERAL (SELECT now() - (1 - n::float / $1) * interval '25 days') AS at (made)
"""
FILL = (
    """INSERT INTO messages (message_id, version, recipient_count, described_by, status, rollup,
        app, reference, sender, subject, rfc_message_id)
    SELECT id, 3, 1, 0, 'read', '{"status":"read"}', 'helpdesk', 'T-' || n, 'support@example.com', 'Yours', id::text
    FROM ids ORDER BY id""",
    "INSERT INTO deliveries SELECT id, 0, 1, 'read', $1::json FROM ids ORDER BY id",
    """INSERT INTO events (message_id, event_id, recipient_no, type, time, body)
    SELECT id, gen_random_uuid(), 0, type, now(), body::json
    FROM ids, unnest($1::text[], $2::text[]) AS e (type, body) ORDER BY id""",
)


@asynccontextmanager
async def database(server: str, stored: int) -> AsyncIterator[Database]:
    """A database that holds so many events of messages of the last weeks."""
    name = f"bench_{secrets.token_hex(4)}"
    await create_database(server, name)
    url = f"{server}/{name}"
    async with postgres.connected(url, "status_store") as pool:
        await partitions.keep(pool, Store(pool, retention=1).months)
    connection = await asyncpg.connect(url)
    if stored:
        one = [phase[0] for phase in histories(1)]
        await connection.execute(FILL_IDS, stored // len(HISTORY))
        await connection.execute(FILL[0])
        await connection.execute(FILL[1], to_json(fold(one)))
        await connection.execute(FILL[2], [e.name for e in one], [events.encode(e).decode() for e in one])
        await connection.execute("VACUUM ANALYZE")
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    if stored:
        print(f"{stored:,} events: {size / stored * 1e6 / 2**20:,.0f} MiB per million")  # noqa: T201 - to be read
    try:
        yield Database(url, stored)
    finally:
        connection = await asyncpg.connect(f"{server}/postgres")
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.close()


def bench(empty: Database, *filled: Database) -> Bench:
    """Ours over each of these, and the peers over the empty one."""
    contenders: dict[str, Contender] = {
        "ours": partial(ours, empty),
        **{_name(each): partial(ours, each) for each in filled},
        "insert + merge (limit)": partial(merge, empty, MESSAGES, TRANSACTION),
        "one event a transaction": partial(merge, empty, NAIVE, 1),
    }
    ratios = [
        Ratio("ours", "insert + merge (limit)", reach=0.5),
        Ratio("ours", "one event a transaction", reach=20),
        *(Ratio(_name(more), _name(less), reach=0.67) for less, more in pairwise(filled)),
    ]
    return Bench("fold", "event", contenders, ratios)


def _name(each: Database) -> str:
    return f"ours, {each.stored / 1e6:g} million stored"
