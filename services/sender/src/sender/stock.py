"""What the queue holds in PostgreSQL, counted; what it need not hold any more, forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from tracepost import postgres
from tracepost.months import Month
from tracepost.postgres import Connection, Pool

AT_ONCE = 10_000  # rows of one statement

_sql = postgres.load("sender")


class Queued(NamedTuple):
    """How many deliveries of a lane are in a state other than done; how many seconds ago the first of them was due."""

    lane: str
    state: str
    deliveries: int
    overdue_seconds: float


async def queued(pool: Pool, within: timedelta) -> list[Queued]:
    """All lanes and states; asyncpg.QueryCanceledError when so many are not done that the time was not enough."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await connection.execute(_sql["bound"], str(within // timedelta(milliseconds=1)))
        return [Queued(*row) for row in await connection.fetch(_sql["queued"])]


async def unfinished(connection: Connection | Pool, month: Month) -> dict[str, int]:
    """What keeps a month: how many deliveries by state, and how many `unpublished` events."""
    rows = await connection.fetch(_sql["unfinished"], month.bound, month.plus(1).bound)
    return {row["what"]: row["count"] for row in rows}


async def is_done(connection: Connection, month: Month) -> bool:
    """Whether every delivery of a month is done, and every event of it published."""
    return not await unfinished(connection, month)


async def forget_keys(pool: Pool, age: timedelta) -> None:
    """Delete idempotency keys that are older than that."""
    await _all(pool, "forget_keys", age)


async def forget_decisions(pool: Pool, before: datetime) -> None:
    """Delete what was decided before that time."""
    await _all(pool, "forget_decisions", before)


async def erase(pool: Pool) -> None:
    """Forget the recipients that are to be erased, of deliveries that are done, and the servers' words about them."""
    await _all(pool, "erase_recipients")


async def _all(pool: Pool, deletion: str, *arguments: object) -> None:
    while await pool.execute(_sql[deletion], *arguments, AT_ONCE) == f"DELETE {AT_ONCE}":
        pass
