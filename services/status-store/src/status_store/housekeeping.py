"""Housekeeping: months made ahead and dropped after the retention, old changes forgotten, orphans counted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from status_store.store import Store
from tracepost import metrics, months, partitions, postgres
from tracepost.partitions import NotKept, Tables
from tracepost.postgres import Pool

log = structlog.get_logger()

EVERY_SECONDS = 60.0

# In the order in which a transaction of events locks them.
TABLES = Tables({"events": 100, "messages": 80, "deliveries": 70, "terms": 100, "issues": 90}, lock=7_274_063_003)


async def begin(store: Store, pool: Pool) -> None:
    """Make the months before the first event comes; Unavailable when those of the present are missing then."""
    await partitions.begin(pool, TABLES, store.months)


async def keep_house(store: Store, pool: Pool, changes_kept: timedelta) -> None:
    """For ever; what cannot be done now is tried again with the next round."""
    while True:
        try:
            await once(store, pool, changes_kept)
        except postgres.TRANSIENT as error:
            log.warning("housekeeping waits", reason=repr(error))
        await asyncio.sleep(EVERY_SECONDS)


async def once(store: Store, pool: Pool, changes_kept: timedelta) -> None:
    """All of it, once; any number of processes may be at it."""
    try:
        await partitions.keep(pool, TABLES, store.months)
    except NotKept as error:
        log.warning("months are not as they should be", reason=str(error))
    metrics.MONTHS_AHEAD.set(months.ahead(await partitions.made(pool, TABLES), months.month(datetime.now(UTC))))
    await store.forget_changes(changes_kept)
    await store.forget_counts()
    count, oldest = await store.orphans()
    metrics.ORPHANS.set(count)
    metrics.ORPHAN_OLDEST.set(oldest)
