"""The partitions of PostgreSQL tables: a month of messages each, made ahead, dropped whole."""

from __future__ import annotations

import re

from status_store.months import Month, Months
from tracepost.postgres import Connection, Pool

# Rows that are written again find room on their page.
TABLES = {"events": 100, "messages": 80, "deliveries": 70}
LOCK = 7_274_063_003

# Making and dropping locks the whole table: if it is not had soon, others shall not queue up behind it.
_PATIENCE = "SET LOCAL lock_timeout = '2s'"
_NAMES = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'messages'::regclass"


async def keep(pool: Pool, months: Months) -> None:
    """Make the partitions that are missing and drop those of earlier months; asyncpg.LockNotAvailableError: not now."""
    async with pool.acquire() as connection:
        async with connection.transaction():
            there = await _begin(connection)
            for month in set(months) - there:
                await connection.execute("; ".join(_create(table, month) for table in TABLES))
        async with connection.transaction():
            for month in await _begin(connection):
                if month < months.first:
                    await connection.execute("; ".join(f"DROP TABLE {table}_{month}" for table in TABLES))


async def ahead(pool: Pool, now: Month) -> int:
    """How many months after this one have their partitions."""
    async with pool.acquire() as connection:
        return sum(month > now for month in await _months(connection))


async def _begin(connection: Connection) -> set[Month]:
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    await connection.execute(_PATIENCE)
    return await _months(connection)


async def _months(connection: Connection) -> set[Month]:
    names = [row[0] for row in await connection.fetch(_NAMES)]
    found = [re.fullmatch(r"messages_(\d{4})_(\d{2})", name) for name in names]
    return {Month(int(each[1]), int(each[2])) for each in found if each}


def _create(table: str, month: Month) -> str:
    return (
        f"CREATE TABLE {table}_{month} PARTITION OF {table} "
        f"FOR VALUES FROM ('{month.bound}') TO ('{month.plus(1).bound}') WITH (fillfactor = {TABLES[table]})"
    )
