"""What is counted, in which hour, and the percentiles of times to delivery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from status_store.counters import (
    BOUNDS,
    Counted,
    Place,
    happened,
    hour_of,
    hour_of_message,
    moved,
    percentile,
    summed,
    to_text,
)
from status_store.fold import NOTHING, fold
from tests.unit.samples import ACCEPTED, MESSAGE, NOON, modest, uuid7_at
from tracepost.events import Bounced, Data, Delivered, Opened, Withdrawn, event

HOUR = hour_of(NOON)
SHOP = Place("shop", "queued")


@modest
@given(st.integers(1_600_000_000, 7_000_000_000))
def test_the_hour_of_a_message_is_that_of_its_id(seconds: int) -> None:
    assert hour_of_message(str(uuid7_at(seconds))) == hour_of(datetime.fromtimestamp(seconds, UTC))


def test_a_message_is_counted_where_it_is_and_nowhere_else() -> None:
    id_, hour = str(MESSAGE), hour_of_message(str(MESSAGE))
    queued, read = (Counted(hour, "shop", "status", status) for status in ("queued", "read"))
    assert dict(moved(id_, None, SHOP)) == {queued: 1}
    assert dict(moved(id_, SHOP, Place("shop", "read"))) == {queued: -1, read: 1}
    assert [*moved(id_, SHOP, SHOP), *moved(id_, None, None)] == []


def test_events_are_counted_in_their_own_hour() -> None:
    told: list[tuple[float, Data]] = [
        (0, ACCEPTED),
        (0.001, Delivered(origin="smtp")),
        (1, Opened(verdict="person", rule="x")),
        (1, Opened(verdict="person", rule="x")),
        (2, Bounced(bounce_class="hard", category="invalid_recipient", origin="dsn")),
    ]
    events = [event("t", MESSAGE, 0, data, time=NOON + timedelta(hours=hours)) for hours, data in told]
    assert summed(happened(events, NOTHING, fold(events), "shop")) == {
        Counted(HOUR, "shop", "delivery", "5"): 1,
        Counted(HOUR + 1, "shop", "open", "person"): 2,
        Counted(HOUR + 2, "shop", "bounce", "hard"): 1,
    }


@pytest.mark.parametrize("first", [0, 1])
def test_a_time_to_delivery_is_counted_once_whichever_comes_first(first: int) -> None:
    events = [event("t", MESSAGE, 0, ACCEPTED, time=NOON)]
    events.append(event("t", MESSAGE, 0, Delivered(origin="smtp"), time=NOON + timedelta(seconds=70)))
    before = fold([events[first]])
    after = fold([events[1 - first]], before)
    again = event("t", MESSAGE, 0, Delivered(origin="mdn"), time=NOON + timedelta(seconds=80))
    parts = [
        *happened([events[first]], NOTHING, before, "shop"),
        *happened([events[1 - first]], before, after, "shop"),
        *happened([again], after, fold([again], after), "shop"),
    ]
    assert summed(parts) == {Counted(HOUR, "shop", "delivery", "300"): 1}


def test_an_open_after_the_withdrawal_is_not_counted() -> None:
    opened = event("t", MESSAGE, 0, Opened(verdict="person", rule="x"), time=NOON + timedelta(seconds=1))
    withdrawn = event("t", MESSAGE, 0, Withdrawn(by="ann"), time=NOON)
    assert [*happened([opened], NOTHING, fold([withdrawn, opened]), "shop")] == []


def test_what_adds_up_to_nothing_is_not_written() -> None:
    key = Counted(1, "shop", "status", "read")
    assert to_text({key: 0}) is None
    assert to_text({key: -2}) == '[[1,"shop","status","read",-2]]'


@modest
@given(st.lists(st.integers(0, 1000), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1))
def test_percentiles_rise_and_lie_within_the_bounds(counts: list[int]) -> None:
    parts = [percentile(counts, part) for part in (0.5, 0.95, 0.99)]
    if not sum(counts):
        assert parts == [None] * 3
        return
    values = [part for part in parts if part is not None]
    assert len(values) == 3
    assert values == sorted(values)
    assert values[0] >= 0
    assert values[-1] <= BOUNDS[-1]
    at = sum(count for bound, count in zip(BOUNDS, counts, strict=False) if bound <= values[0])
    assert at <= 0.5 * sum(counts) + max(counts)


def test_half_of_what_took_up_to_ten_seconds_is_in_the_middle_of_its_bucket() -> None:
    counts = [0] * (len(BOUNDS) + 1)
    counts[BOUNDS.index(10)] = 4
    assert percentile(counts, 0.5) == 7.5
