"""The months of message ids, by laws and at their borders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from tests.unit.samples import modest
from tracepost.months import AHEAD, Month, ahead, current, kept, month

TIMES = st.integers(631_152_000_000_000, 7_258_118_400_000_000).map(  # microseconds: 1990 to 2200
    lambda since: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=since)
)
RETENTIONS = st.integers(1, 120)
LEAST = 7 << 76 | 2 << 62
MOST = LEAST | 0xFFF << 64 | (1 << 62) - 1


def id_at(time: datetime, rest: int = LEAST) -> UUID:
    """The UUIDv7 of a time, cut to its millisecond, with this version, variant and random part."""
    milliseconds = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | rest)


def has(which: Month, message_id: UUID) -> bool:
    return which.bound <= message_id < which.plus(1).bound


@given(TIMES, st.sampled_from((LEAST, MOST)))
@modest
def test_an_id_is_of_its_month_and_of_no_other(time: datetime, rest: int) -> None:
    near = [month(time).plus(count) for count in range(-13, 14)]
    assert [each for each in near if has(each, id_at(time, rest))] == [month(time)]


def test_ids_as_they_are_made_are_of_the_present_month() -> None:
    before = month(datetime.now(UTC))
    made = uuid7()
    assert has(before, made) or has(month(datetime.now(UTC)), made)


@pytest.mark.parametrize(
    ("which", "begins"),
    [
        (Month(2026, 3), datetime(2026, 3, 1, tzinfo=UTC)),
        (Month(2028, 3), datetime(2028, 3, 1, tzinfo=UTC)),  # after a leap day
        (Month(2027, 1), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_month_begins_to_the_millisecond(which: Month, begins: datetime) -> None:
    last = begins - timedelta(microseconds=1)
    assert id_at(last, MOST) < which.bound <= id_at(begins, LEAST)
    assert (month(last), month(begins)) == (which.plus(-1), which)
    assert which.bound.int - id_at(last, 0).int == 1 << 80  # a millisecond


def test_the_year_changes() -> None:
    assert Month(2026, 12).plus(1) == Month(2027, 1)
    assert Month(2027, 1).plus(-1) == Month(2026, 12)
    assert Month(2026, 11).plus(14) == Month(2028, 1)
    assert str(Month(2027, 1)) == "2027_01"


@given(TIMES, st.integers(-200, 200), st.integers(-200, 200))
@modest
def test_months_are_counted_one_by_one(time: datetime, some: int, more: int) -> None:
    here = month(time)
    assert here.plus(some).plus(more) == here.plus(some + more)
    assert (here.plus(some) < here.plus(more)) == (some < more)


@given(TIMES, st.integers(-14 * 60, 14 * 60))
@modest
def test_the_month_is_that_of_utc(time: datetime, minutes: int) -> None:
    assert month(time.astimezone(timezone(timedelta(minutes=minutes)))) == month(time)


@given(TIMES, RETENTIONS)
@modest
def test_what_may_be_sent_now_is_kept(now: datetime, retention: int) -> None:
    months = kept(now, retention)
    for age in (timedelta(), timedelta(days=7), timedelta(days=-1)):
        assert months.cover(str(id_at(now - age, LEAST)))
        assert months.cover(str(id_at(now - age, MOST)))
        assert month(now - age) in current(now)
    assert current(now) <= set(months)


@given(TIMES, RETENTIONS)
@modest
def test_retention_is_counted_in_whole_months(now: datetime, retention: int) -> None:
    months = kept(now, retention)
    assert list(months) == [month(now).plus(count) for count in range(-retention, AHEAD + 1)]
    assert not months.cover(str(UUID(int=months.first.bound.int - 1)))
    assert months.cover(str(months.first.bound))
    assert months.cover(str(UUID(int=months.end.bound.int - 1)))
    assert not months.cover(str(months.end.bound))


@pytest.mark.parametrize(
    "message_id", [UUID(int=0), UUID(int=(1 << 128) - 1), UUID("b5f1c1f8-3d4e-4f2a-9d5b-000000000000")]
)
def test_an_id_that_tells_no_time_of_ours_is_not_covered(message_id: UUID) -> None:
    assert not kept(datetime(2026, 11, 23, tzinfo=UTC), 120).cover(str(message_id))


@pytest.mark.parametrize(
    ("made", "count"), [((), 0), ((0,), 0), ((0, 1), 1), ((-1, 0, 1, 2), 2), ((0, 2, 3), 0), ((0, 1, 3, 12), 1)]
)
def test_months_ahead_are_counted_up_to_a_gap(made: tuple[int, ...], count: int) -> None:
    now = Month(2026, 11)
    assert ahead({now.plus(each) for each in made}, now) == count
