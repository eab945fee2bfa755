"""Dead letters in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any
from uuid import UUID

from status_store.dead import DeadLetter
from tracepost import postgres
from tracepost.postgres import Pool

_sql = postgres.load("status_store")


class Graves:
    """Where they lie until they are replayed or dropped."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Store dead letters that are not stored yet."""
        rows = sorted((astuple(each) for each in letters), key=lambda row: row[0])
        await self._pool.execute(_sql["insert_dead"], *zip(*rows, strict=True))

    async def list(
        self, queue: str | None, code: str | None, before: UUID | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Dead letters without their bodies."""
        return [dict(row) for row in await self._pool.fetch(_sql["list_dead"], queue, code, before, limit)]

    async def find(self, id_: UUID) -> Mapping[str, Any] | None:
        """A dead letter whole."""
        row = await self._pool.fetchrow(_sql["dead"], id_)
        return dict(row) if row else None

    async def mark_replayed(self, id_: UUID) -> None:
        """It was published again, confirmed."""
        await self._pool.execute(_sql["mark_replayed"], id_)

    async def drop(self, id_: UUID) -> bool:
        """Forget a dead letter; False when there is none."""
        return bool(await self._pool.fetchval(_sql["drop_dead"], id_))

    async def count(self) -> int:
        """How many were neither replayed nor dropped."""
        return int(await self._pool.fetchval(_sql["count_dead"]))
