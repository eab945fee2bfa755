"""Which delivery issues somebody has seen, in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from tracepost import postgres
from tracepost.postgres import Pool

_sql = postgres.load("status_store")


class Issues:
    """The fold says what is an issue; people say what they have seen."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def see(self, message_id: UUID, by: str) -> None:
        """The first who has seen it is kept; another issue of the same message is to be seen again."""
        await self._pool.execute(_sql["see_issue"], message_id, by)
