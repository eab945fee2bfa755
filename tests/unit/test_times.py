"""Times are understood with their zone, and a number is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.unit.samples import modest
from tracepost.times import Time

TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@modest
@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-720, 720))  # noqa: DTZ001 - the zone follows
def test_a_time_is_read_as_it_was_written(naive: datetime, minutes: int) -> None:
    time = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = TIME.validate_python(time.isoformat())
    assert (found, found.tzinfo) == (time, UTC)
    assert TIME.validate_python(time) == time


@pytest.mark.parametrize(
    "told", ["-44776", "1700000000", 1700000000, 1.5, "2026-03-04", "2026-03-04T12:30:00", "", "now", True, None, []]
)
def test_what_is_no_time_with_its_zone_is_refused(told: Any) -> None:
    with pytest.raises(ValidationError, match="is no time with its zone; write it as 2026-03-04T12:30:00Z"):
        TIME.validate_python(told)


def test_a_time_that_has_no_place_in_utc_is_refused() -> None:
    with pytest.raises(ValidationError, match="outside of the years 1 to 9999"):
        TIME.validate_python("0001-01-01T00:00:00+14:00")
