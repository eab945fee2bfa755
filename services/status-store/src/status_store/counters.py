"""What is counted for statistics: messages by status, bounces, opens, and times to delivery; pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from pydantic_core import to_json

from status_store.fold import Delivery
from status_store.standing import Status
from tracepost.events import AnyEvent, Bounced, Opened

Kind = Literal["status", "bounce", "open", "delivery"]

# Seconds from `accepted` to `delivered`, each up to and with this.
BOUNDS = (1, 2, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400, 259_200)
BEYOND = "more"


class Counted(NamedTuple):
    """What one count is of: the hour since 1970, UTC; the app, empty where it is not known; the kind and its value."""

    hour: int
    app: str
    kind: Kind
    value: str


class Place(NamedTuple):
    """Where a message that is described is counted."""

    app: str
    status: Status


def hour_of(time: datetime) -> int:
    """The hour of an event."""
    return int(time.timestamp()) // 3_600


def hour_of_message(message_id: str) -> int:
    """The hour in which a message was made, by its UUIDv7."""
    return int(message_id[:8] + message_id[9:13], 16) // 3_600_000


def moved(message_id: str, before: Place | None, after: Place | None) -> Sequence[tuple[Counted, int]]:
    """What a message adds that goes from one place to another; None: it is not counted there."""
    return () if before == after else _moved(hour_of_message(message_id), before, after)


@lru_cache(1_000)  # most messages of an hour go the same ways
def _moved(hour: int, before: Place | None, after: Place | None) -> Sequence[tuple[Counted, int]]:
    steps = (before, -1), (after, 1)
    return [(Counted(hour, place.app, "status", place.status), count) for place, count in steps if place]


def happened(events: Iterable[AnyEvent], before: Delivery, after: Delivery, app: str) -> Iterator[tuple[Counted, int]]:
    """What events that were not stored before add, with which a delivery went from one state to the other."""
    for event in events:
        data = event.data
        if isinstance(data, Bounced):
            yield Counted(hour_of(event.time), app, "bounce", data.bounce_class), 1
        elif isinstance(data, Opened) and not (after.withdrawn and event.time > after.withdrawn.time):
            yield Counted(hour_of(event.time), app, "open", data.verdict), 1
    if after.accepted and after.delivered and not (before.accepted and before.delivered):
        seconds = (after.delivered.time - after.accepted.time).total_seconds()
        yield Counted(hour_of(after.delivered.time), app, "delivery", _bound(seconds)), 1


def summed(parts: Iterable[tuple[Counted, int]]) -> dict[Counted, int]:
    """All of them together."""
    counts: defaultdict[Counted, int] = defaultdict(int)  # a Counter takes several times as long
    for counted, count in parts:
        counts[counted] += count
    return counts


def _bound(seconds: float) -> str:
    place = bisect_left(BOUNDS, seconds)
    return str(BOUNDS[place]) if place < len(BOUNDS) else BEYOND


def to_text(counts: Mapping[Counted, int]) -> str | None:
    """As a mark carries them; None where there is nothing to add."""
    rows = [(*counted, count) for counted, count in counts.items() if count]
    return to_json(rows).decode() if rows else None


def percentile(counts: Sequence[int], part: float) -> float | None:
    """Of the counts by BOUNDS and beyond: the seconds within which that part was delivered; None where nothing was.

    Between two bounds it is taken to rise evenly; what is beyond the last counts as that one.
    """
    wanted, low = part * sum(counts), 0
    for bound, count in zip(BOUNDS, counts, strict=False):
        if count and wanted <= count:
            return round(low + (bound - low) * wanted / count, 3)
        wanted, low = wanted - count, bound
    return float(BOUNDS[-1]) if sum(counts) else None
