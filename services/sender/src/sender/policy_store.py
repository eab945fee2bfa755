"""The MTA-STS policies of domains in PostgreSQL, so that a restart forgets none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from sender.routing.sts import Kept, Policy
from tracepost import postgres

log = structlog.get_logger()

_sql = postgres.load("sender")


class PolicyStore:
    """Written through, and read at the start alone: what another sender has fetched meanwhile, each fetches itself."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool

    async def all(self, most: int) -> Mapping[str, Kept]:
        """By domain, those that were fetched last; those that have ended are forgotten."""
        await self._pool.execute(_sql["forget_policies"])
        rows = await self._pool.fetch(_sql["policies"], most)
        return {
            row["domain"]: Kept(
                Policy(row["mode"], tuple(row["mx"]), row["max_age"]), row["id"], row["fetched_at"].timestamp()
            )
            for row in rows
        }

    async def keep(self, domain: str, kept: Kept) -> None:
        """In place of an older one; a database that is away costs no more than to fetch it again after a restart."""
        policy, fetched_at = kept.policy, datetime.fromtimestamp(kept.fetched_at, UTC)
        try:
            await self._pool.execute(
                _sql["keep_policy"], domain, kept.id, policy.mode, policy.mx, policy.max_age, fetched_at
            )
        except postgres.TRANSIENT as error:
            log.warning("cannot keep an MTA-STS policy", domain=domain, reason=repr(error))
