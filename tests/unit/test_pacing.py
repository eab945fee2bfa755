"""The pace of each destination: how it is held back, and that it recovers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import pytest

from sender.outcome import (
    Expired,
    GivenUp,
    Lost,
    Reply,
    Result,
    Suppressed,
    Unreachable,
    Unroutable,
    Unsendable,
)
from sender.pacing import Felt, Pace, PaceLimits, Pacer, felt
from tests.unit.samples import NOON
from tracepost.bounces.classify import Cause
from tracepost.events import Rejected

A, B = "a.example", "b.example"
LIMITS = PaceLimits()
REMOTE = "mx.example:25"
FELT: tuple[Felt, ...] = ("well", "slow_down", "away", "other")


def attempts(pacer: Pacer, says: Felt, count: int, now: float = 0.0, destination: str = A) -> None:
    """One after the other."""
    for _ in range(count):
        pacer.begin(destination, now)
        pacer.end(destination, says, now)


def together(pacer: Pacer, says: Iterable[Felt], now: float = 0.0, until: float = 0.0) -> None:
    """All at once."""
    ends = list(says)
    for _ in ends:
        pacer.begin(A, now)
    for each in ends:
        pacer.end(A, each, until)


def pace(pacer: Pacer, now: float, destination: str = A) -> Pace:
    return next(each for each in pacer.states(now) if each.destination == destination)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (Reply("data", 250, "2.0.0 OK", REMOTE), "well"),
        (Reply("rcpt", 452, "4.5.3 Too many recipients", REMOTE), "slow_down"),
        (Reply("connect", 421, "4.7.0 Too many connections", REMOTE), "slow_down"),
        (Reply("connect", 421, "", REMOTE), "slow_down"),
        (Reply("data", 451, "4.3.2 System too busy", REMOTE), "slow_down"),
        (Reply("data", 550, "5.7.1 Daily limit exceeded", REMOTE), "slow_down"),
        (Reply("rcpt", 451, "4.7.1 Greylisted", REMOTE), "other"),
        (Reply("rcpt", 421, "4.7.1 Greylisted", REMOTE), "other"),
        (Reply("rcpt", 550, "5.1.1 User unknown", REMOTE), "other"),
        (Reply("data", 554, "5.7.1 Spam", REMOTE), "other"),
        (Unreachable("no session: connection refused", REMOTE), "away"),
        (Lost("the session was lost after DATA", REMOTE), "away"),
        (Lost("the sender stopped", REMOTE, ours=True), "other"),
        (Suppressed(Rejected(reason="hard_bounce", since=NOON)), "other"),
        (Expired(), "other"),
        (Unsendable("no"), "other"),
        (GivenUp("ann", "no"), "other"),
    ],
)
def test_what_a_result_says_of_its_destination(result: Result, says: Felt) -> None:
    assert felt(result) == says


def test_a_relay_that_is_away_says_nothing_of_the_destination() -> None:
    no_session = Unreachable("no session: Connection refused", "relay.test:25", met=False)
    assert felt(no_session) == "away"
    assert felt(no_session, relayed=True) == "other"
    assert felt(replace(no_session, met=True), relayed=True) == "away"
    assert felt(Reply("connect", 421, "busy", "relay.test:25"), relayed=True) == "slow_down"


def test_a_domain_whose_dns_is_in_trouble_rests_and_a_dead_one_need_not() -> None:
    assert felt(Unroutable("-", Cause("soft", "dns_temporary", "dns-trouble"), lasting=False)) == "away"
    assert felt(Unroutable("-", Cause("hard", "null_mx", "null-mx"), lasting=True)) == "other"


def test_a_destination_starts_with_the_initial_number() -> None:
    pacer = Pacer(LIMITS)
    assert pacer.free(A, 0.0) == 5
    for left in (4, 3, 2, 1, 0):
        pacer.begin(A, 0.0)
        assert pacer.free(A, 0.0) == left
    assert (pacer.closed(0.0), pacer.room(0.0), pacer.next_opening(0.0)) == ([A], {}, None)
    pacer.end(A, "other", 1.0)
    assert (pacer.closed(1.0), pacer.room(1.0)) == ([], {A: 1})


def test_it_is_raised_by_one_for_each_round_of_successes_up_to_the_cap() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 4)
    assert pacer.free(A, 0.0) == 5
    attempts(pacer, "well", 1)
    assert pacer.free(A, 0.0) == 6
    attempts(pacer, "well", 1000)
    assert pacer.free(A, 0.0) == 20


def test_it_is_halved_when_asked_to_slow_down() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1000)
    attempts(pacer, "slow_down", 1, now=10.0)
    assert (pacer.free(A, 10.0), pace(pacer, 10.0).why) == (10, "slow_down")
    attempts(pacer, "well", 1000, now=11.0)
    assert (pacer.free(A, 11.0), pace(pacer, 11.0).why) == (20, None)


def test_a_burst_from_one_moment_counts_once() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1000)
    together(pacer, ["slow_down"] * 20, now=10.0, until=10.5)
    assert pacer.free(A, 10.5) == 10


def test_within_a_second_even_attempts_begun_anew_count_once() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1000)
    attempts(pacer, "slow_down", 9, now=10.0)
    assert pacer.free(A, 10.9) == 10
    attempts(pacer, "slow_down", 1, now=11.0)
    assert pacer.free(A, 11.0) == 5


def test_there_is_no_room_but_never_less_while_more_are_under_way_than_allowed() -> None:
    pacer = Pacer(LIMITS)
    for _ in range(5):
        pacer.begin(A, 0.0)
    pacer.end(A, "slow_down", 0.0)
    assert (pacer.free(A, 0.0), pacer.closed(0.0)) == (0, [A])


def test_what_began_before_the_last_lowering_counts_once_however_late_it_ends() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1000)
    for _ in range(20):
        pacer.begin(A, 10.0)
    for second in range(20):
        pacer.end(A, "slow_down", 20.0 + 3 * second)
    assert pacer.free(A, 100.0) == 10
    attempts(pacer, "slow_down", 1, now=100.0)
    assert pacer.free(A, 100.0) == 5


def test_where_one_at_a_time_is_too_much_it_rests_longer_each_time() -> None:
    pacer, now, rests = Pacer(LIMITS), 0.0, []
    for _ in range(10):
        attempts(pacer, "slow_down", 1, now)
        opens = pacer.next_opening(now)
        rests.append(opens - now if opens else 0.0)
        now = opens or now + 2
    assert rests == [0, 0, 15, 30, 60, 120, 240, 480, 600, 600]


def test_a_destination_that_is_away_rests_and_is_tried_by_one_attempt() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "away", 1)
    assert (pacer.free(A, 14.9), pacer.closed(14.9), pacer.next_opening(14.9)) == (0, [A], 15.0)
    assert pace(pacer, 14.9) == Pace(A, 0, 2, None, 15.0, "away")
    assert (pacer.free(A, 15.0), pacer.closed(15.0), pacer.next_opening(15.0)) == (1, [], None)
    pacer.begin(A, 15.0)
    assert pacer.free(A, 15.0) == 0
    pacer.end(A, "away", 75.0)
    assert pacer.next_opening(75.0) == 105.0
    attempts(pacer, "well", 1, now=105.0)
    assert pacer.free(A, 105.0) == 2


def test_a_probe_that_is_asked_to_slow_down_prolongs_the_rest() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "away", 1)
    attempts(pacer, "slow_down", 1, now=15.0)
    assert pacer.next_opening(15.0) == 45.0


def test_after_a_success_rests_are_short_again() -> None:
    pacer = Pacer(LIMITS)
    for now in (0.0, 15.0, 45.0):
        attempts(pacer, "away", 1, now)
    attempts(pacer, "well", 1, now=105.0)
    attempts(pacer, "away", 1, now=200.0)
    assert pacer.next_opening(200.0) == 215.0


def test_a_probe_that_says_nothing_is_followed_by_another() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "away", 1)
    attempts(pacer, "other", 1, now=20.0)
    assert pacer.free(A, 20.0) == 1


def test_a_destination_that_hangs_holds_its_own_number_and_then_one() -> None:
    pacer = Pacer(LIMITS)
    together(pacer, ["away"] * 5, now=0.0, until=60.0)
    assert (pacer.free(A, 74.9), pacer.free(A, 75.0)) == (0, 1)
    assert pacer.free(B, 60.0) == 5


def test_attempts_that_end_during_a_rest_do_not_prolong_it() -> None:
    pacer = Pacer(LIMITS)
    together(pacer, ["away", "slow_down", "other"], until=3.0)
    assert pacer.next_opening(3.0) == 18.0


def test_a_success_ends_a_rest() -> None:
    pacer = Pacer(LIMITS)
    together(pacer, ["away", "well"])
    assert pacer.free(A, 0.0) == 2


def test_one_lost_session_among_successes_is_no_outage() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1000)
    attempts(pacer, "away", 1, now=4.9)
    assert pacer.free(A, 4.9) == 10
    attempts(pacer, "away", 1, now=6.0)
    assert pacer.free(A, 6.0) == 0


def test_every_begin_has_one_end() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1)
    with pytest.raises(AssertionError, match="more ends than beginnings"):
        pacer.end(A, "well", 0.0)


# the rate

RATED = PaceLimits(initial=50, cap=50, per_second=10)


def test_no_more_begin_than_the_rate_allows() -> None:
    pacer = Pacer(RATED)
    assert pacer.free(A, 0.0) == 10
    attempts(pacer, "other", 10)
    assert (pacer.free(A, 0.0), pacer.closed(0.0)) == (0, [A])
    assert pacer.next_opening(0.0) == pytest.approx(0.1)
    assert pacer.free(A, 0.1) == 1
    assert (pacer.free(A, 0.55), pacer.room(0.55)) == (5, {A: 5})
    assert pacer.free(A, 100.0) == 10


def test_the_rate_is_lowered_and_raised_too() -> None:
    pacer = Pacer(RATED)
    attempts(pacer, "slow_down", 1)
    assert pace(pacer, 0.0).rate == 5
    assert pacer.free(A, 100.0) == 5
    attempts(pacer, "well", 1000, now=100.0)
    assert pace(pacer, 100.0).rate == 10


def test_even_the_lowest_rate_lets_it_show_that_it_has_recovered() -> None:
    pacer = Pacer(RATED)
    for rest in range(100):
        attempts(pacer, "slow_down", 1, now=600.0 * rest)
    assert pace(pacer, 59400.0).rate == 10 / 64


def test_a_destination_ahead_of_its_rate_is_open_at_the_moment_that_is_told() -> None:
    pacer = Pacer(replace(RATED, per_second=0.3))
    now = 0.0
    for _ in range(1000):
        assert pacer.free(A, now) == 1
        attempts(pacer, "other", 1, now)
        opens = pacer.next_opening(now)
        assert opens is not None
        now = opens


# memory


def test_what_was_not_used_for_long_starts_afresh() -> None:
    pacer = Pacer(LIMITS)
    attempts(pacer, "well", 1000, destination=A)
    attempts(pacer, "slow_down", 1, destination=B)
    assert (pacer.free(A, 900.0), pacer.free(B, 900.0)) == (20, 2)
    assert (pacer.free(A, 900.1), pacer.free(B, 900.1)) == (5, 5)
    attempts(pacer, "other", 1, now=901.0, destination="c.example")
    assert [each.destination for each in pacer.states(901.0)] == ["c.example"]


def test_what_waits_for_its_rate_is_not_idle() -> None:
    pacer = Pacer(replace(LIMITS, per_second=0.001))
    attempts(pacer, "slow_down", 1)
    assert pacer.next_opening(0.0) == pytest.approx(2000.0)
    assert (pacer.free(A, 1900.0), pacer.free(A, 2000.0)) == (0, 1)
    assert pace(pacer, 2000.0).rate == 0.0005


def test_of_too_many_the_least_recently_used_are_forgotten_but_none_that_is_under_way() -> None:
    pacer = Pacer(replace(LIMITS, destinations=3))
    pacer.begin("busy.example", 0.0)
    for number in range(100):
        attempts(pacer, "slow_down", 1, destination=f"{number}.example")
    assert {each.destination for each in pacer.states(0.0)} == {"busy.example", "98.example", "99.example"}
    assert pace(pacer, 0.0, "busy.example").under_way == 1


def test_it_costs_next_to_nothing() -> None:
    pacer, names = Pacer(LIMITS), [f"{number}.example" for number in range(1000)]
    started = time.process_time()
    for number, name in enumerate(names * 10):
        if pacer.free(name, number / 1000):
            pacer.begin(name, number / 1000)
            pacer.end(name, "well", number / 1000)
    assert (time.process_time() - started) / 10_000 < 50e-6
