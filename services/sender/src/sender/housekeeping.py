"""Housekeeping: months made ahead, and dropped when all in them is done; what is old or erased forgotten; counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from sender import stock
from sender.stock import Queued
from tracepost import metrics, partitions, postgres
from tracepost.months import Month, ahead, kept
from tracepost.partitions import NotKept, Tables
from tracepost.postgres import Pool

log = structlog.get_logger()

EVERY_SECONDS = 60.0
COUNTED_WITHIN = timedelta(seconds=5)
KEYS_KEPT = timedelta(days=7)  # as long as the id that a key stands for is taken

# Intake comes to the requests first, a recorded outcome to the deliveries: no order holds for both.
TABLES = Tables({"requests": 90, "deliveries": 70}, lock=7_274_063_005, done=stock.is_done, together=False)

Unfinished = Mapping[Month, Mapping[str, int]]  # what keeps a month: how many deliveries by state, and events


async def begin(pool: Pool, retention: int) -> None:
    """Make the months before the first request comes; Unavailable when those of the present are missing then."""
    await partitions.begin(pool, TABLES, kept(datetime.now(UTC), retention))


async def keep_house(pool: Pool, retention: int) -> None:
    """For ever; what cannot be done now is tried again with the next round."""
    told: Unfinished = {}
    while True:
        try:
            found = await once(pool, retention)
            for month, what in found.items():
                if what != told.get(month):
                    log.warning("a month is kept beyond its time", month=str(month), unfinished=what)
            told = found
        except postgres.TRANSIENT as error:
            log.warning("housekeeping waits", reason=repr(error))
            _count([])  # old numbers would be taken for those of now
        await asyncio.sleep(EVERY_SECONDS)


async def once(pool: Pool, retention: int) -> Unfinished:
    """All of it, once; any number of processes may be at it. Answers what keeps the months that are kept too long."""
    months = kept(datetime.now(UTC), retention)
    try:
        await partitions.keep(pool, TABLES, months)
    except NotKept as error:
        log.warning("months are not as they should be", reason=str(error))
    made = await partitions.made(pool, TABLES)
    metrics.MONTHS_AHEAD.set(ahead(made, months.present))
    past = {month: await stock.unfinished(pool, month) for month in sorted(made) if month < months.first}
    found = {month: what for month, what in past.items() if what}
    _tell(found)
    await stock.forget_keys(pool, KEYS_KEPT)
    await stock.forget_decisions(pool, datetime(*months.first, 1, tzinfo=UTC))
    await stock.erase(pool)
    _count(await stock.queued(pool, COUNTED_WITHIN))
    return found


def _tell(unfinished: Unfinished) -> None:
    metrics.MONTHS_UNFINISHED.set(len(unfinished))
    oldest = min(unfinished, default=None)
    metrics.OLDEST_UNFINISHED.set(datetime(*oldest, 1, tzinfo=UTC).timestamp() if oldest else 0)
    metrics.UNFINISHED.clear()
    for what, count in sum(map(Counter, unfinished.values()), Counter[str]()).items():
        metrics.UNFINISHED.labels(what).set(count)


def _count(queued: Iterable[Queued]) -> None:
    metrics.QUEUED.clear()
    metrics.OLDEST_READY.clear()
    oldest: dict[str, float] = {}
    for each in queued:
        metrics.QUEUED.labels(each.lane, each.state).set(each.deliveries)
        if each.state in ("ready", "waiting"):
            oldest[each.lane] = max(oldest.get(each.lane, 0.0), each.overdue_seconds)
    for lane, seconds in oldest.items():
        metrics.OLDEST_READY.labels(lane).set(seconds)
