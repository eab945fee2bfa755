"""Housekeeping: what is beyond the bounds goes, and what there is is counted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog

from bounce_ingest.quarantine.store import Quarantine
from bounce_ingest.quarantine.values import Bounds
from tracepost import metrics, postgres

log = structlog.get_logger()

EVERY_SECONDS = 60.0
SHARE = 20  # of the bounds that the quarantine grows by before they are looked at
ERASURES_LOOKED_AT = timedelta(minutes=10)


async def keep_house(quarantine: Quarantine, bounds: Bounds) -> None:
    """For ever; what cannot be done now is tried again with the next round."""
    while True:
        try:
            await once(quarantine, bounds)
        except postgres.TRANSIENT as error:
            log.warning("housekeeping waits", reason=repr(error))
            _clear()  # old numbers would be taken for those of now
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY_SECONDS):
                await quarantine.grows(1 + bounds.rows // SHARE, 1 + bounds.size // SHARE)


async def once(quarantine: Quarantine, bounds: Bounds) -> None:
    """All of it, once; any number of processes may be at it."""
    await quarantine.erase_again(ERASURES_LOOKED_AT)
    if dropped := await quarantine.bound(bounds):
        metrics.QUARANTINE_DROPPED.inc(dropped)
        log.warning("the oldest reports were dropped", reports=dropped)
    kept = await quarantine.kept()
    _clear()
    for each in kept:
        metrics.QUARANTINE.labels(each.reason).set(each.rows)
        metrics.QUARANTINE_BYTES.labels(each.reason).set(each.size)


def _clear() -> None:
    metrics.QUARANTINE.clear()
    metrics.QUARANTINE_BYTES.clear()
