"""The partitions of PostgreSQL tables: a month of messages each, made ahead, dropped whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import structlog

from tracepost.months import Month, Months, current, month
from tracepost.postgres import Connection, Pool
from tracepost.runner import Unavailable

log = structlog.get_logger()

# One month falls due in a month. More at once is the sign of a wrong clock, or of a slip in RETENTION_MONTHS.
DROPPED_AT_ONCE = 2

Partition = tuple[str, Month]  # of which table

_PARTITIONS = """
SELECT parent.relname::text, child.relname::text
FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent JOIN pg_class child ON child.oid = inhrelid
WHERE inhparent = ANY ($1::text[]::regclass[])
"""


async def _always(_: Connection, __: Month) -> bool:
    return True


@dataclass(frozen=True)
class Tables:
    """Tables that are partitioned, with their fill factors: rows that are written again find room on their page.

    `lock`: the number of the advisory lock that keeps processes apart.
    `done`: whether a month that is past the retention may be dropped.
    `together`: every transaction locks these tables in this order, so that a month of all is dropped in one; if not,
    each is dropped by itself, for who waits for a table must then hold no other.
    """

    fillfactors: Mapping[str, int]
    lock: int
    done: Callable[[Connection, Month], Awaitable[bool]] = _always
    together: bool = True


class OutOfMonths(Exception):
    """A month has no partition although it should: nothing was changed; the housekeeping makes it."""


class NotKept(Exception):
    """Partitions are missing still, or there still; the text says why, and the remedy."""


async def begin(pool: Pool, tables: Tables, months: Months) -> None:
    """Make the months before they are written to; Unavailable when those of the present are missing then."""
    try:
        await keep(pool, tables, months)
    except NotKept as error:
        if current(datetime.now(UTC)) - await made(pool, tables):
            raise Unavailable(f"the present month has no partition and cannot be given one: {error}") from error
        log.warning("months are not as they should be", reason=str(error))


async def keep(pool: Pool, tables: Tables, months: Months) -> None:
    """Make the partitions that are missing and drop those of earlier months; NotKept when that is not possible now."""
    try:
        async with pool.acquire() as connection:
            if _wanted(tables, months) - await _there(connection, tables):
                await _make(connection, tables, months)
            if await _due(connection, tables, months):
                await _drop(connection, tables, months)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotKept(f"PostgreSQL: {str(error) or repr(error)}") from error


async def made(pool: Pool, tables: Tables) -> set[Month]:
    """The months that have all their partitions."""
    async with pool.acquire() as connection:
        there = await _there(connection, tables)
    return {month for _, month in there if all((table, month) in there for table in tables.fillfactors)}


async def _make(connection: Connection, tables: Tables, months: Months) -> None:
    async with _alone(connection, tables, months):
        there = await _there(connection, tables)
        for table, fillfactor in tables.fillfactors.items():
            for each in months:
                if (table, each) not in there:
                    await connection.execute(_made(table, fillfactor, each))


async def _drop(connection: Connection, tables: Tables, months: Months) -> None:
    for group in [[*tables.fillfactors]] if tables.together else [[table] for table in tables.fillfactors]:
        async with _alone(connection, tables, months):
            due = await _due(connection, tables, months)
            if len({each for _, each in due}) > DROPPED_AT_ONCE:
                raise NotKept(
                    f"so many months are never dropped at once: look at the clock and at RETENTION_MONTHS;"
                    f" if they are right, do it by hand: {_dropped(due)}"
                )
            if any(table in group for table, _ in due):
                await connection.execute(f"LOCK TABLE ONLY {', '.join(group)} IN ACCESS EXCLUSIVE MODE")
                # What was written before the lock was had can be seen only now.
                if due := [each for each in await _due(connection, tables, months) if each[0] in group]:
                    await connection.execute(_dropped(due))


@asynccontextmanager
async def _alone(connection: Connection, tables: Tables, months: Months) -> AsyncIterator[None]:
    """A transaction that no other process is at, and that gives up soon where it must wait for a table."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", tables.lock)
        # Who wants a table for itself holds up all that come later, as long as it waits.
        await connection.execute("SET LOCAL lock_timeout = '500ms'")
        theirs = month(await connection.fetchval("SELECT clock_timestamp()"))
        if theirs != months.present:
            raise NotKept(
                f"the clock of this machine says {months.present}, that of PostgreSQL {theirs}: set the wrong one right"
            )
        yield


async def _there(connection: Connection, tables: Tables) -> set[Partition]:
    rows = await connection.fetch(_PARTITIONS, list(tables.fillfactors))
    found = [(table, re.fullmatch(rf"{table}_(\d{{4}})_(\d{{2}})", name)) for table, name in rows]
    return {(table, Month(int(name[1]), int(name[2]))) for table, name in found if name}


def _wanted(tables: Tables, months: Months) -> set[Partition]:
    return {(table, each) for table in tables.fillfactors for each in months}


async def _due(connection: Connection, tables: Tables, months: Months) -> list[Partition]:
    there = await _there(connection, tables)
    past = sorted({each for _, each in there if each < months.first})
    done = [each for each in past if await tables.done(connection, each)]
    return [(table, each) for table in tables.fillfactors for each in done if (table, each) in there]


def _dropped(partitions: Collection[Partition]) -> str:
    return "DROP TABLE " + ", ".join(f"{table}_{each}" for table, each in partitions)


def _made(table: str, fillfactor: int, month: Month) -> str:
    # Attached, and not made in its place: that would wait for every reader, and all that come later for it.
    return (
        f"CREATE TABLE {table}_{month} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)"
        f" WITH (fillfactor = {fillfactor});"
        f" ALTER TABLE {table} ATTACH PARTITION {table}_{month}"
        f" FOR VALUES FROM ('{month.bound}') TO ('{month.plus(1).bound}')"
    )
