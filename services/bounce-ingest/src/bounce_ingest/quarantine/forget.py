"""Forgets what is about people whose data are to be erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from bounce_ingest.quarantine.store import Quarantine
from tracepost.events import AnyEvent, Erased
from tracepost.problems import Problem

log = structlog.get_logger()


async def forget(quarantine: Quarantine, batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
    """One transaction for the whole batch: all reports that hold an address, or came for a delivery, named there."""
    erased = [event for event in batch if isinstance(event.data, Erased)]
    about = {event.data.address_key for event in erased} | {event.subject for event in erased}
    if erased:
        count = await quarantine.erase(about, max(event.time for event in erased))
        log.info("erased", people=len({event.data.address_key for event in erased}), reports=count)
    return {}
