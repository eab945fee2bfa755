"""What was asked for addresses, and the deliveries to them, in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from status_store.asked import Kind
from tracepost import postgres
from tracepost.events import Utc
from tracepost.months import least_id
from tracepost.postgres import Pool

_sql = postgres.load("status_store")

ERASED_BODY = b"(erased)"
PAGE = 100
FOREVER = UUID(int=2**128 - 1)


class Receipt(NamedTuple):
    """Who asked for what, when, and of how many deliveries it was told; `app` None: of all apps."""

    id: UUID
    kind: Kind
    address_key: str
    app: str | None
    by: str
    reason: str | None
    asked_at: Utc
    published_at: datetime | None
    deliveries: int


class Exported(NamedTuple):
    """A delivery to the address: its message's row and its events, as JSON."""

    message_id: UUID
    recipient_no: int
    message: str
    events: str | None


class Receipts:
    """Kept before anything is done about them."""

    def __init__(self, pool: Pool, reading: Pool) -> None:
        self._pool, self._reading = pool, reading

    async def put(self, id_: UUID, kind: Kind, address_key: str, app: str | None, by: str, why: str | None) -> Receipt:
        """Keep what is asked for."""
        row = await self._pool.fetchrow(_sql["put_receipt"], id_, kind, address_key, app, by, why)
        return Receipt(*row or ())

    async def find(self, id_: UUID) -> Receipt | None:
        """The receipt with this id."""
        row = await self._pool.fetchrow(_sql["receipt"], id_)
        return Receipt(*row) if row else None

    async def open(self, age: timedelta) -> list[Receipt]:
        """Those that are not done, or may have more to do, and are not older."""
        return [Receipt(*row) for row in await self._pool.fetch(_sql["open_receipts"], age)]

    async def deliveries(self, receipt: Receipt, term: str) -> list[tuple[str, int]]:
        """The deliveries that it is about; later ones too only the first time."""
        before = least_id(receipt.asked_at) if receipt.published_at else FOREVER
        rows = await self._reading.fetch(_sql["deliveries_to"], term, before, receipt.app)
        return [(message_id, number) for message_id, number in rows]

    async def published(self, receipt: Receipt, deliveries: int) -> Receipt:
        """So many more were told of it."""
        row = await self._pool.fetchrow(_sql["published_receipt"], receipt.id, deliveries)
        return Receipt(*row or ())

    async def export(self, receipt: Receipt, term: str) -> AsyncIterator[Exported]:
        """Everything that is known of deliveries to the address, the oldest first."""
        after: tuple[Any, ...] = (UUID(int=0), -1)
        count = 0
        while rows := await self._reading.fetch(_sql["export_page"], term, *after, receipt.app, PAGE):
            for row in rows:
                yield Exported(*row)
            after, count = tuple(rows[-1])[:2], count + len(rows)
        await self._pool.execute(_sql["exported_receipt"], receipt.id, count)

    async def erase_dead(self, address: str) -> int:
        """Empty the dead letters in which the address stands; answers how many."""
        return len(await self._pool.fetch(_sql["erase_dead"], address, ERASED_BODY))
