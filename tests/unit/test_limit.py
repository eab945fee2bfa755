"""Ten opens a minute of a delivery and verdict, whatever the flood, and of nobody else any less."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.samples import modest
from tracepost import limit
from tracepost.limit import WINDOW, Limit

times = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=80)


@modest
@given(times, st.integers(1, 10))
def test_no_minute_holds_more_and_nothing_is_refused_without_need(gaps: list[tuple[str, float]], most: int) -> None:
    limited, admitted, now = Limit(most), dict[str, list[float]](a=[], b=[], c=[]), 0.0
    for key, gap in gaps:
        now += gap
        within = [time for time in admitted[key] if now - time < WINDOW]
        assert limited.admits(key, now) == (len(within) < most)
        if len(within) < most:
            admitted[key].append(now)


def test_what_is_refused_does_not_prolong_the_wait() -> None:
    limited = Limit(1)
    assert [limited.admits("a", now) for now in (0, 20, 40, 59.9, 60, 61)] == [True, False, False, False, True, False]


def test_what_is_old_is_forgotten() -> None:
    limited = Limit(10)
    for number in range(10_000):
        limited.admits(number, number / 10)
    assert len(limited._times) <= 10 * WINDOW + 2


def test_there_is_an_end_to_what_is_remembered() -> None:
    limited = Limit(10)
    for number in range(limit.MOST_KEYS + 10):
        assert limited.admits(number, 0)
    assert len(limited._times) <= limit.MOST_KEYS
