"""The quarantine in PostgreSQL: what was kept is safe; what is beyond the bounds is dropped, the oldest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from bounce_ingest.quarantine.contained import keys
from bounce_ingest.quarantine.values import Bounds, Entry, Held, Kept, Reason
from tracepost import postgres
from tracepost.batches import Batches
from tracepost.broker import NotConfirmed
from tracepost.events import storable
from tracepost.postgres import Pool
from tracepost.runner import background
from tracepost.tokens import Claim, Keyring

AT_ONCE = 32  # reports of one statement: each may be large
DROPPED_AT_ONCE = 5_000
MOST_SUBJECT = 500  # characters

_sql = postgres.load("bounce_ingest")


class NotKept(NotConfirmed):
    """The report is not safe: the database is away, or did not answer in time; whoever sent it must try again."""


class Quarantine:
    """Every statement about the quarantine."""

    def __init__(self, pool: Pool, keyring: Keyring, within: float) -> None:
        self._pool, self._keyring, self._within = pool, keyring, within
        self._batches = Batches(self._hold, (), most=AT_ONCE)
        self._rows = self._size = 0  # that this process has put there since the bounds were looked at
        self._more = asyncio.Event()

    async def keep(self, held: Held) -> None:
        """Return when it is committed, once however often it comes; NotKept."""
        about = await asyncio.to_thread(keys, held, self._keyring)
        try:
            async with asyncio.timeout(self._within):
                fault = await self._batches.do((held, about))
        except TimeoutError:
            raise NotKept(f"the database did not answer within {self._within:g} s") from None
        if fault:
            raise NotKept(fault)

    async def run(self) -> None:
        """Serve `keep`; runs for ever."""
        await self._batches.run()

    async def _hold(self, batch: Sequence[tuple[Held, Collection[str]]]) -> Sequence[str | None]:
        """Why each could not be kept, if it could not: a database that is away fails a whole batch at once."""
        rows = sorted((_row(held, about) for held, about in batch), key=lambda row: str(row[0]))
        try:
            await self._pool.execute(_sql["hold"], *zip(*rows, strict=True))
        except postgres.TRANSIENT as error:
            if isinstance(error, ValueError):  # what asyncpg cannot encode is for it a fault of the connection
                raise
            return [str(error) or repr(error)] * len(batch)
        self._rows += len(batch)
        self._size += sum(len(held.raw) for held, _ in batch)
        self._more.set()
        return [None] * len(batch)

    async def grows(self, rows: int, size: int) -> None:
        """Return when this process has put so many there since the bounds were looked at, or so many bytes."""
        while self._rows < rows and self._size < size:
            self._more.clear()
            await self._more.wait()

    async def page(self, reason: Reason | None, before: int | None, count: int) -> list[Entry]:
        """The newest, from `before` on, without their content."""
        return [_entry(row) for row in await self._pool.fetch(_sql["page"], reason, before, count)]

    async def get(self, id_: UUID) -> Entry | None:
        """One with its content."""
        row = await self._pool.fetchrow(_sql["entry"], id_)
        return _entry(row) if row else None

    async def drop(self, id_: UUID) -> bool:
        """Whether there was one with this id; there is none now."""
        return bool(await self._pool.fetchval(_sql["drop"], id_))

    async def restate(self, id_: UUID, held: Held) -> None:
        """Why it is held now."""
        await self._pool.execute(_sql["restate"], id_, held.reason, held.detail)

    async def erase(self, about: Collection[str], at: datetime) -> int:
        """Forget what addresses (by key) and deliveries (by subject) stand in, now and in what comes; answers rows."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_sql["put_erasures"], sorted(about), at)
            return len(await connection.fetch(_sql["erase"], sorted(about)))

    async def erase_again(self, within: timedelta) -> None:
        """Forget what came while an erasure of the time `within` was being written."""
        await self._pool.execute(_sql["erase_again"], within)

    async def bound(self, bounds: Bounds) -> int:
        """Drop the oldest beyond the bounds; answers how many."""
        dropped = self._rows = self._size = 0
        while count := await self._pool.fetchval(
            _sql["drop_oldest"], bounds.rows, bounds.size, timedelta(bounds.days), DROPPED_AT_ONCE
        ):
            dropped += count
        await self._pool.execute(_sql["forget_erasures"], timedelta(bounds.days))
        return dropped

    async def kept(self) -> list[Kept]:
        """How much there is, by reason."""
        return [Kept(*row) for row in await self._pool.fetch(_sql["kept"])]


def _row(held: Held, about: Collection[str]) -> tuple[object, ...]:
    subject = storable(held.subject)[:MOST_SUBJECT]
    told = held.id, held.reason, held.detail, held.way, subject, held.content_type
    claim = held.claim
    said = (claim.message_id, claim.recipient_no, claim.day, claim.kid, claim.mark) if claim else (None,) * 5
    return *told, *said, held.raw, " ".join(sorted(about))


def _entry(row: Any) -> Entry:
    claim = None
    if row["message_id"]:
        claim = Claim(row["message_id"], row["recipient_no"], 0, row["issued_on"], row["kid"], row["mark"])
    held = Held(row["reason"], row["way"], row["raw"], row["detail"], row["subject"], row["content_type"], claim)
    return Entry(row["id"], row["seq"], row["received_at"], row["erased_at"], row["size"], held)


@asynccontextmanager
async def quarantining(pool: Pool, keyring: Keyring, within: float) -> AsyncIterator[Quarantine]:
    """A quarantine that takes reports until the block ends; one is kept `within` these seconds, or refused."""
    quarantine = Quarantine(pool, keyring, within)
    async with background(quarantine.run()):
        yield quarantine
