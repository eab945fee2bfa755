"""Housekeeping: months made ahead and dropped after the retention, old changes forgotten, orphans counted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from status_store import partitions
from status_store.months import month
from status_store.store import Store
from tracepost import metrics, postgres
from tracepost.postgres import Pool

log = structlog.get_logger()

EVERY_SECONDS = 60.0


async def keep_house(store: Store, pool: Pool, changes_kept: timedelta) -> None:
    """For ever; what cannot be done now is tried again with the next round."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await once(store, pool, changes_kept)
        except postgres.TRANSIENT as error:
            log.warning("housekeeping waits", reason=repr(error))


async def once(store: Store, pool: Pool, changes_kept: timedelta) -> None:
    """All of it, once; any number of processes may be at it."""
    await partitions.keep(pool, store.months)
    await store.forget_changes(changes_kept)
    count, oldest = await store.orphans()
    metrics.ORPHANS.set(count)
    metrics.ORPHAN_OLDEST.set(oldest)
    metrics.MONTHS_AHEAD.set(await partitions.ahead(pool, month(datetime.now(UTC))))
