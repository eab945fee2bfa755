"""Transactions, changes and what is forgotten, in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

from status_store.standing import Status
from status_store.store.work import MessageId, Work
from tracepost import postgres
from tracepost.months import Months, kept
from tracepost.partitions import OutOfMonths
from tracepost.postgres import Pool
from tracepost.tokens import Keyring

_sql = postgres.load("status_store")

Transactions = Callable[[], AbstractAsyncContextManager[Work]]


class Refolding(Exception):
    """Another refold is running."""


class Change(NamedTuple):
    """The newest state of a message that changed."""

    message_id: MessageId
    status: Status
    version: int
    reference: str | None
    app: str | None
    rollup: str


class Store:
    """What all rooms that write share."""

    def __init__(self, pool: Pool, retention: int, keyring: Keyring) -> None:
        self.pool, self._retention, self.keyring = pool, retention, keyring

    @property
    def months(self) -> Months:
        """Those that are kept now: what is older is out of retention, and what is newer has no place yet."""
        return kept(datetime.now(UTC), self._retention)

    async def orphans(self) -> tuple[int, float]:
        """How many messages wait for their `accepted`, and the age of the oldest in seconds."""
        row = await self.pool.fetchrow(_sql["orphans"])
        return (row["count"], row["oldest_seconds"]) if row else (0, 0.0)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        """One transaction; OutOfMonths when an event had no partition to go to."""
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                yield Work(connection)
        except asyncpg.CheckViolationError as error:
            raise OutOfMonths(str(error)) from error

    async def number_changes(self, count: int) -> int | None:
        """Give the next numbers to marks that are committed, add what they add to the counters; answers how many.

        None while another drainer is at it.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_sql["lock_feed"]):
                return None
            return int(await connection.fetchval(_sql["number_changes"], count))

    @asynccontextmanager
    async def unpublished(self, count: int) -> AsyncIterator[list[Change]]:
        """What changed under the oldest numbers that are not published; they are when the block ends well.

        Nothing while another drainer is at it.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            mine = await connection.fetchval(_sql["lock_feed"])
            last = await connection.fetchval(_sql["unpublished"], count) if mine else None
            rows = await connection.fetch(_sql["statuses"], last) if last else []
            yield [Change(*row) for row in rows]
            if last:
                await connection.execute(_sql["published"], last)

    async def forget_changes(self, age: timedelta) -> None:
        """Delete published changes that are older than that."""
        while await self.pool.execute(_sql["forget_changes"], age) != "DELETE 0":
            pass

    async def forget_counts(self) -> None:
        """Delete what was counted before the months that are kept."""
        await self.pool.execute(_sql["forget_counts"], self.months.first.start)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Work]:
        """One transaction that cannot write, and sees everything as of one moment."""
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(_sql["lock_events"])
            yield Work(connection)

    @asynccontextmanager
    async def refolding(self) -> AsyncIterator[Transactions]:
        """The transactions of a refold; Refolding while another is at it."""
        async with self.pool.acquire() as connection:
            if not await connection.fetchval(_sql["lock_refold"]):
                raise Refolding

            # On the connection that has the lock: where that is lost, nothing can be written either.
            @asynccontextmanager
            async def transaction() -> AsyncIterator[Work]:
                async with connection.transaction():
                    await connection.execute(_sql["lock_events"])
                    yield Work(connection)

            try:
                yield transaction
            finally:
                await connection.reset()  # the lock is the session's
