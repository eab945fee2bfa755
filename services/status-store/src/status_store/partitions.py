"""The partitions of PostgreSQL tables: a month of messages each, made ahead, dropped whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import asyncpg

from status_store.months import Month, Months, month
from tracepost.postgres import Connection, Pool

# In the order in which a transaction of events locks them. Rows that are written again find room on their page.
TABLES = {"events": 100, "messages": 80, "deliveries": 70}
LOCK = 7_274_063_003
# One month falls due in a month. More at once is the sign of a wrong clock, or of a slip in RETENTION_MONTHS.
DROPPED_AT_ONCE = 2

Partition = tuple[str, Month]  # of which table

_PARTITIONS = """
SELECT parent.relname::text, child.relname::text
FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent JOIN pg_class child ON child.oid = inhrelid
WHERE inhparent = ANY ($1::text[]::regclass[])
"""


class NotKept(Exception):
    """Partitions are missing still, or there still; the text says why, and the remedy."""


async def keep(pool: Pool, months: Months) -> None:
    """Make the partitions that are missing and drop those of earlier months; NotKept when that is not possible now."""
    try:
        async with pool.acquire() as connection:
            if _wanted(months) - await _there(connection):
                await _make(connection, months)
            if _due(await _there(connection), months):
                await _drop(connection, months)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotKept(f"PostgreSQL: {str(error) or repr(error)}") from error


async def made(pool: Pool) -> set[Month]:
    """The months that have all their partitions."""
    async with pool.acquire() as connection:
        there = await _there(connection)
    return {month for _, month in there if all((table, month) in there for table in TABLES)}


async def _make(connection: Connection, months: Months) -> None:
    async with _alone(connection, months):
        there = await _there(connection)
        for table in TABLES:
            for each in months:
                if (table, each) not in there:
                    await connection.execute(_made(table, each))


async def _drop(connection: Connection, months: Months) -> None:
    async with _alone(connection, months):
        due = _due(await _there(connection), months)
        statement = "DROP TABLE " + ", ".join(f"{table}_{each}" for table, each in due)
        if len({each for _, each in due}) > DROPPED_AT_ONCE:
            raise NotKept(
                f"so many months are never dropped at once: look at the clock and at RETENTION_MONTHS;"
                f" if they are right, do it by hand: {statement}"
            )
        if due:
            await connection.execute(statement)


@asynccontextmanager
async def _alone(connection: Connection, months: Months) -> AsyncIterator[None]:
    """A transaction that no other process is at, and that gives up soon where it must wait for a table."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        # Who wants a table for itself holds up all that come later, as long as it waits.
        await connection.execute("SET LOCAL lock_timeout = '500ms'")
        theirs = month(await connection.fetchval("SELECT clock_timestamp()"))
        if theirs != months.present:
            raise NotKept(
                f"the clock of this machine says {months.present}, that of PostgreSQL {theirs}: set the wrong one right"
            )
        yield


async def _there(connection: Connection) -> set[Partition]:
    rows = await connection.fetch(_PARTITIONS, list(TABLES))
    found = [(table, re.fullmatch(rf"{table}_(\d{{4}})_(\d{{2}})", name)) for table, name in rows]
    return {(table, Month(int(name[1]), int(name[2]))) for table, name in found if name}


def _wanted(months: Months) -> set[Partition]:
    return {(table, each) for table in TABLES for each in months}


def _due(there: Collection[Partition], months: Months) -> list[Partition]:
    return [(table, each) for table in TABLES for of, each in sorted(there) if of == table and each < months.first]


def _made(table: str, month: Month) -> str:
    # Attached, and not made in its place: that would wait for every reader, and all that come later for it.
    return (
        f"CREATE TABLE {table}_{month} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)"
        f" WITH (fillfactor = {TABLES[table]});"
        f" ALTER TABLE {table} ATTACH PARTITION {table}_{month}"
        f" FOR VALUES FROM ('{month.bound}') TO ('{month.plus(1).bound}')"
    )
