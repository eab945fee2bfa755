"""A dump by pg_dump, restored by pg_restore, is a database that status-store works on as if nothing had been."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from local_stack import binaries
from local_stack.stack import Servers, create_database
from status_store import housekeeping
from status_store.dead import DeadLetter
from status_store.graves import Graves
from status_store.record import record
from status_store.store import Store
from tests import stored
from tests.conftest import KEYRING
from tests.unit.samples import DATA, uuid7_at
from tracepost import partitions, postgres
from tracepost.events import AnyEvent, StatusChanged, decode, event
from tracepost.months import kept
from tracepost.postgres import Pool

RETENTION = 4
NOW = datetime.now(UTC)
ACCEPTED, BOUNCED, OPENED = DATA[0], DATA[4], DATA[6]


@dataclass(frozen=True)
class Status:
    """A database of status-store."""

    url: str
    pool: Pool
    store: Store


@asynccontextmanager
async def opened_at(url: str, *, migrate: bool = True) -> AsyncIterator[Status]:
    async with postgres.connected(url, "status_store", migrate=migrate) as pool:
        store = Store(pool, RETENTION, keyring=KEYRING)
        await housekeeping.begin(store, pool)
        yield Status(url, pool, store)


@pytest.fixture
async def filled(database: str) -> AsyncIterator[Status]:
    """A database with some of everything in it; its last marks are not numbered, its last numbers not published."""
    async with opened_at(database) as status:
        events = history()
        for start in range(0, len(events), 20):
            assert await record(status.store, events[start : start + 20]) == {}
        await status.store.number_changes(4)
        async with status.store.unpublished(2) as changes:
            assert changes
        graves = Graves(status.store.pool)
        await graves.bury([letter(), letter(), replace(letter(), problem=None, app=None)])
        await graves.mark_replayed((await graves.list(None, None, None, 1))[0]["id"])
        yield status


def history() -> list[AnyEvent]:
    """Events of every kind, of three recipients, in every month that has messages, out of order; some are orphans."""
    days = [NOW, NOW - timedelta(days=35), NOW - timedelta(days=65), NOW + timedelta(hours=23)]
    ids = [uuid7_at(day.timestamp()) for day in days for _ in range(8)]
    data = [each for each in DATA if not isinstance(each, StatusChanged)]
    chance = random.Random(5)
    return [
        event("test", id_, number, each)
        for id_ in chance.sample(ids, len(ids))
        for number in range(3)
        for each in chance.sample(data, chance.randint(1, 5))
    ]


def letter() -> DeadLetter:
    return DeadLetter(
        uuid7(), "q", "x", "k", "broken", '{"é": [1]}', "app", "text/plain", {"a": "b"}, b"\0\xff", datetime.now(UTC)
    )


async def run(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(binaries.find(program), *arguments)
    assert await process.wait() == 0


@pytest.fixture
async def restored(servers: Servers, filled: Status, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a new database, made of the dump of the filled one."""
    dump, name = str(tmp_path / "status.dump"), f"test_{secrets.token_hex(4)}"
    await run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={filled.url}")
    await create_database(servers.postgres_url, name)
    url = f"{servers.postgres_url}/{name}"
    await run("pg_restore", "--exit-on-error", "--jobs=2", f"--dbname={url}", dump)
    yield url
    connection = await asyncpg.connect(f"{servers.postgres_url}/postgres")
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


async def content(pool: Pool) -> dict[str, list[str]]:
    """Every row of every table, and where the sequences are."""
    kinds = "SELECT relname::text, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    found: dict[str, list[str]] = {}
    for name, kind in await pool.fetch(f"{kinds} AND relkind IN ('r', 'p', 'S')"):
        columns = "last_value, is_called" if kind == "S" else "*"
        rows = await pool.fetch(f"SELECT t::text FROM (SELECT {columns} FROM {name}) t ORDER BY 1")
        found[name] = [row[0] for row in rows]
    return found


async def partitions_of(pool: Pool) -> list[tuple[str, str, str]]:
    """Each with its bounds and its settings."""
    rows = await pool.fetch(
        "SELECT relname::text, pg_get_expr(relpartbound, oid), reloptions::text FROM pg_class"
        " WHERE relispartition AND relkind = 'r' ORDER BY 1"
    )
    return [tuple(row) for row in rows]


async def test_every_row_is_there_again(filled: Status, restored: str) -> None:
    before = await content(filled.pool)
    assert len(before["events"]) > 100
    some = {name for name, rows in before.items() if rows}
    assert some >= {"migrations", "events", "messages", "deliveries", "dead_letters", "changes", "change_marks", "feed"}
    assert sum(name.startswith("events_") for name in some) >= 3
    async with opened_at(restored, migrate=False) as copy:
        assert await content(copy.pool) == before


async def test_the_months_are_there_again(filled: Status, restored: str) -> None:
    async with postgres.connected(restored, "status_store", migrate=False) as pool:
        assert await partitions_of(pool) == await partitions_of(filled.pool)
        assert await partitions.made(pool, housekeeping.TABLES) == set(kept(NOW, RETENTION))
        identities = await pool.fetch("SELECT oid FROM pg_class ORDER BY oid")
        await partitions.keep(pool, housekeeping.TABLES, kept(NOW, RETENTION))
        assert await pool.fetch("SELECT oid FROM pg_class ORDER BY oid") == identities
        await partitions.keep(pool, housekeeping.TABLES, kept(NOW, RETENTION - 1))
        assert await partitions.made(pool, housekeeping.TABLES) == set(kept(NOW, RETENTION - 1))


async def test_what_was_recorded_before_the_dump_is_a_duplicate(filled: Status, restored: str) -> None:
    rows = await filled.pool.fetch("SELECT body::text FROM events ORDER BY random()")
    again = [decode(row[0]) for row in rows]
    async with opened_at(restored, migrate=False) as copy:
        before = await content(copy.pool)
        assert await record(copy.store, again) == {}
        assert await content(copy.pool) == before


async def test_new_events_fold_on_as_they_would_have(filled: Status, restored: str) -> None:
    rows = await filled.pool.fetch("SELECT message_id FROM messages ORDER BY message_id")
    ids: list[UUID] = [row[0] for row in rows]
    new = [
        event("test", id_, number, each) for id_ in ids for number, each in ((0, ACCEPTED), (2, BOUNCED), (3, OPENED))
    ]
    async with opened_at(restored, migrate=False) as copy:
        for status in (filled, copy):
            assert await record(status.store, new) == {}
        for id_ in ids:
            assert await told(copy.store, id_) == await told(filled.store, id_)


async def told(store: Store, id_: UUID) -> tuple[dict[str, Any], object]:
    """All of a message but when the database wrote it."""
    found = await stored.message(store, id_)
    assert found is not None
    row, deliveries = found
    return {name: value for name, value in row.items() if name not in ("known_since", "changed_at")}, deliveries


async def test_the_feed_goes_on_without_a_hole(filled: Status, restored: str) -> None:
    numbered = len(await filled.pool.fetch("SELECT FROM changes"))
    last_mark = await filled.pool.fetchval("SELECT max(mark) FROM change_marks")
    async with opened_at(restored, migrate=False) as copy:
        await record(copy.store, [event("test", uuid7(), 0, ACCEPTED)])
        assert await copy.pool.fetchval("SELECT max(mark) FROM change_marks") == last_mark + 1
        marks = len(await copy.pool.fetch("SELECT FROM change_marks"))
        while await copy.pool.fetchval("SELECT count(*) FROM change_marks"):
            assert await copy.store.number_changes(3)
        numbers = [row[0] for row in await copy.pool.fetch("SELECT number FROM changes ORDER BY number")]
        assert numbers == list(range(1, numbered + marks + 1))
        assert marks > 1
        published = await copy.pool.fetchval("SELECT published FROM feed")
        assert published == 2
        async with copy.store.unpublished(1000) as changes:
            assert changes
        assert await copy.pool.fetchval("SELECT published FROM feed") == numbers[-1]
