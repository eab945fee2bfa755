"""Logins that were used, in PostgreSQL: each is good once, whichever process it comes to."""

from __future__ import annotations

from uuid import UUID

from tracepost import postgres
from tracepost.keys import LOGIN_LIFETIME
from tracepost.postgres import Pool

_sql = postgres.load("status_store")


class Logins:
    """Remembers a login as long as it could be used again."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def use(self, login: UUID) -> bool:
        """True the first time."""
        return bool(await self._pool.fetchval(_sql["use_login"], login, LOGIN_LIFETIME))
