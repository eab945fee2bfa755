"""From the queue to committed statuses, beside what PostgreSQL itself allows and what one event at a time costs."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from uuid import UUID

import aiohttp
import asyncpg
from uuid_utils.compat import uuid7

from local_stack.processes import free_port, running
from local_stack.stack import create_database
from status_store import housekeeping
from status_store.fold import NOTHING, fold, from_json, to_json
from status_store.rollup import descriptions
from status_store.standing import applying
from status_store.store import Store
from status_store.terms import Term, terms
from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong
from tests.bench.raw_amqp import Raw, encoded
from tests.conftest import KEYRING, ROOT, eventually
from tracepost import events, partitions, postgres, topology
from tracepost.events import Accepted, AnyEvent, Data, Delivered, Opened, event

NAME = "fold"
MESSAGES = 50_000
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
    """A database with so many stored events."""

    url: str
    stored: int


def histories(count: int) -> list[list[AnyEvent]]:
    """First what all messages have first, and so on: the events of one message are never near each other."""
    ids = [uuid7() for _ in range(count)]
    return [[event("sender", id_, 0, data) for id_ in ids] for data in HISTORY]


@asynccontextmanager
async def ours(database: Database, processes: int, url: str) -> AsyncIterator[Work]:
    """The whole service, its drainer and subscribers' exchange included."""
    phases = histories(MESSAGES)
    frames = [_frame(phase[at : at + BATCH]) for phase in phases for at in range(0, len(phase), BATCH)]
    async with AsyncExitStack() as stack:
        ports = []
        for _ in range(processes):
            port = free_port()
            at_once = "2" if processes == 1 else "1"  # as docs/settings.md has it
            await stack.enter_async_context(service(database, url, ADMIN_PORT=str(port), BATCHES_AT_ONCE=at_once))
            ports.append(port)
        yield partial(_through_the_queue, url, frames, ports, sum(map(len, phases)))
    with Raw(url) as raw:
        if left := raw.waiting(topology.STATUS_STORE_EVENTS.name):
            raise Wrong(f"{left} messages were not acknowledged")
    await _check(database, [each.message_id for each in phases[0]], "read")


@asynccontextmanager
async def service(database: Database, url: str, **further: str) -> AsyncIterator[int]:
    """A process that is ready; the port of its API."""
    port = free_port()
    settings = {
        "AMQP_URL": url,
        "DATABASE_URL": database.url,
        "TOKEN_KEYS": "1:" + base64.b64encode(bytes(32)).decode(),
        "API_PORT": str(port),
        "ADMIN_PORT": str(free_port()),
        "LOG_LEVEL": "WARNING",
    } | further
    env = os.environ | {f"TRACEPOST_{name}": value for name, value in settings.items()}
    log = ROOT / ".local" / "bench" / f"status-store.{port}.log"
    async with running("status-store", [sys.executable, "-m", "status_store"], env=env, log=log):
        await eventually(partial(_ready, int(settings["ADMIN_PORT"])))
        yield port


async def _ready(port: int) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as response:
            return response.status == 200
    return False


def _frame(batch: Sequence[AnyEvent]) -> bytes:
    return encoded(topology.EVENTS, batch[0].name, events.join(map(events.encode, batch)), events.BATCH_TYPE)


async def _through_the_queue(url: str, frames: Sequence[bytes], ports: Sequence[int], count: int) -> int:
    def publish() -> None:
        with Raw(url) as raw:
            raw.publish(frames)

    started = time.monotonic()
    await asyncio.to_thread(publish)
    async with aiohttp.ClientSession() as session:
        while (done := sum([await _committed(session, port) for port in ports])) < count:
            # To be asked costs a service milliseconds: seldom at first, and ever more often towards the end.
            left = (count - done) / max(1.0, done) * (time.monotonic() - started)
            await asyncio.sleep(min(1.0, max(0.02, left / 2)))
    return count


async def _committed(session: aiohttp.ClientSession, port: int) -> float:
    async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
        metrics = await response.text()
    return float(metrics.split("\ntracepost_fold_batch_events_sum ")[1].split("\n")[0])


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
    INSERT INTO events (message_id, event_id, time, recipient_no, type, body)
    SELECT message_id, event_id, time, recipient_no, type, body FROM unnest($1::events[])
    ON CONFLICT DO NOTHING
    RETURNING message_id, recipient_no, CASE type WHEN 'opened' THEN 'read' ELSE type END AS status
), found_by AS (
    INSERT INTO terms SELECT * FROM unnest($3::terms[]) ON CONFLICT DO NOTHING
), merged AS (
    INSERT INTO deliveries AS d (message_id, recipient_no, rules_version, status, facts)
    SELECT message_id, recipient_no, 0, status, $2::json FROM fresh
    ON CONFLICT (message_id, recipient_no) DO UPDATE SET status = excluded.status, facts = excluded.facts
)
INSERT INTO messages AS m (message_id, version, recipient_count, described_by, status, rollup,
    app, reference, sender, subject, rfc_message_id)
SELECT message_id, 1, 1, 0, status, '{}', 'helpdesk', 'T-4711', 'support@example.com', 'Yours', message_id::text
FROM fresh
ON CONFLICT (message_id) DO UPDATE SET version = m.version + 1, status = excluded.status, changed_at = now()
"""


@asynccontextmanager
async def merge(database: Database, _: str) -> AsyncIterator[Work]:
    """One statement for a thousand events and what finds them, facts of the usual size: no queue, no fold."""
    phases = histories(MESSAGES)
    parts = [phase[at : at + TRANSACTION] for phase in phases for at in range(0, len(phase), TRANSACTION)]
    batches = [
        ([(str(e.message_id), e.id, e.time, None, 0, e.name, events.text(e)) for e in part], _terms(part))
        for part in parts
    ]
    facts = to_json(fold([phase[0] for phase in phases[:2]]))
    connection = await asyncpg.connect(database.url)
    statement = await connection.prepare(MERGE)

    async def work() -> int:
        for rows, found_by in batches:
            await statement.fetch(rows, facts, found_by)
        return sum(map(len, phases))

    yield work
    await connection.close()
    await _check(database, [each.message_id for each in phases[0]], "read")


@asynccontextmanager
async def one_by_one(database: Database, _: str) -> AsyncIterator[Work]:
    """What is done most often: a transaction for each event, that inserts it, reads, folds and writes."""
    phases = histories(NAIVE)
    connection = await asyncpg.connect(database.url)
    insert, read, write, roll_up, find = [await connection.prepare(sql) for sql in ONE_BY_ONE]

    async def work() -> int:
        for each in chain(*phases):
            key = each.message_id, each.recipient_no
            async with connection.transaction():
                await insert.fetch(each.message_id, each.id, each.time, 0, each.name, events.text(each))
                before = await read.fetchval(*key)
                known = fold([each], from_json(before) if before else NOTHING)
                status = applying(known)[0].status
                await write.fetch(*key, status, to_json(known))
                await roll_up.fetch(each.message_id, status)
                if isinstance(each.data, Accepted):
                    await find.fetch(_terms([each]))
        return sum(map(len, phases))

    yield work
    await connection.close()
    await _check(database, [each.message_id for each in phases[0]], "read")


ONE_BY_ONE = (
    """INSERT INTO events (message_id, event_id, time, recipient_no, type, body) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING""",
    "SELECT facts FROM deliveries WHERE message_id = $1 AND recipient_no = $2 FOR UPDATE",
    """INSERT INTO deliveries VALUES ($1, $2, 0, $3, $4)
    ON CONFLICT (message_id, recipient_no) DO UPDATE SET status = excluded.status, facts = excluded.facts""",
    """INSERT INTO messages AS m (message_id, version, status, rollup) VALUES ($1, 1, $2, '{}')
    ON CONFLICT (message_id) DO UPDATE SET version = m.version + 1, status = excluded.status, changed_at = now()""",
    "INSERT INTO terms SELECT * FROM unnest($1::terms[]) ON CONFLICT DO NOTHING",
)


def _terms(some: Sequence[AnyEvent]) -> list[Term]:
    """By what these events let their messages be found."""
    said = {(str(each.message_id), 0): [each] for each in some}
    folded = {key: fold(each) for key, each in said.items()}
    return terms(said, folded, descriptions(said, folded), KEYRING.address_key)


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
    FROM ids ORDER BY ids.id""",
    "INSERT INTO deliveries SELECT id, 0, 1, 'read', $1::json FROM ids ORDER BY id",
    """INSERT INTO events (message_id, event_id, recipient_no, type, time, body)
    SELECT id, gen_random_uuid(), 0, type, now(), body::json
    FROM ids, unnest($1::text[], $2::text[]) AS e (type, body) ORDER BY id""",
    # By app and sender, which all have in common, and by the recipient.
    """INSERT INTO terms
    SELECT term, id, 0 FROM ids, unnest(ARRAY[md5('app'), md5('sender'), md5(id::text)]::uuid[]) AS term ORDER BY id""",
)


@asynccontextmanager
async def database(server: str, stored: int) -> AsyncIterator[Database]:
    """A database that holds so many events of messages of the last weeks."""
    name = f"bench_{secrets.token_hex(4)}"
    await create_database(server, name)
    url = f"{server}/{name}"
    async with postgres.connected(url, "status_store") as pool:
        await partitions.keep(pool, housekeeping.TABLES, Store(pool, retention=1, keyring=KEYRING).months)
    connection = await asyncpg.connect(url)
    if stored:
        one = [phase[0] for phase in histories(1)]
        await connection.execute(FILL_IDS, stored // len(HISTORY))
        await connection.execute(FILL[0])
        await connection.execute(FILL[1], to_json(fold(one)))
        await connection.execute(FILL[2], [e.name for e in one], [events.encode(e).decode() for e in one])
        await connection.execute(FILL[3])
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


@asynccontextmanager
async def over(server: str, stored: Sequence[int]) -> AsyncIterator[Bench]:
    """Ours over databases that hold so many events, and the peers over an empty one."""
    async with AsyncExitStack() as stack:
        yield _bench(*[await stack.enter_async_context(database(server, count)) for count in (0, *stored)])


def _bench(empty: Database, *filled: Database) -> Bench:
    contenders: dict[str, Contender] = {
        "ours": partial(ours, empty, 2),
        "ours, one process": partial(ours, empty, 1),
        **{_name(each): partial(ours, each, 2) for each in filled},
        "insert + merge (limit)": partial(merge, empty),
        "one event a transaction": partial(one_by_one, empty),
    }
    ratios = [
        Ratio("ours", "insert + merge (limit)", reach=0.5),
        Ratio("ours", "one event a transaction", reach=20),
        *(Ratio(_name(more), _name(less), reach=0.67) for less, more in pairwise(filled)),
    ]
    return Bench(NAME, "event", contenders, ratios)


def _name(each: Database) -> str:
    return f"ours, {each.stored / 1e6:g} million stored"
