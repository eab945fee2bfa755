"""The pace of each destination: how it is held back, and that it recovers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sender.outcome import Expired, GivenUp, Lost, Reply, Result, Suppressed, Unreachable, Unsendable
from sender.pacing import Felt, Pace, PaceLimits, Pacer, felt
from tests.unit.samples import NOON, modest
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


def test_of_too_many_the_least_recently_used_are_forgotten_but_none_that_is_under_way() -> None:
    pacer = Pacer(replace(LIMITS, destinations=3))
    pacer.begin("busy.example", 0.0)
    for number in range(100):
        attempts(pacer, "slow_down", 1, destination=f"{number}.example")
    assert {each.destination for each in pacer.states(0.0)} == {"busy.example", "98.example", "99.example"}
    assert pace(pacer, 0.0, "busy.example").under_way == 1


# laws


class Pacing(RuleBasedStateMachine):
    """Three destinations, of which two are remembered, against a plain count of what is under way."""

    @initialize(
        initial=st.integers(1, 5),
        more=st.integers(0, 5),
        per_second=st.none() | st.floats(0.01, 20),
        calm=st.sampled_from([0.0, 1.0]),
    )
    def start(self, initial: int, more: int, per_second: float | None, calm: float) -> None:
        self.limits = PaceLimits(initial, initial + more, per_second, calm=calm, memory=100, destinations=2)
        self.pacer, self.now = Pacer(self.limits), 0.0
        self.under_way: Counter[str] = Counter()

    @rule(destination=st.sampled_from("abc"), count=st.integers(1, 10))
    def begin(self, destination: str, count: int) -> None:
        for _ in range(min(count, self.pacer.free(destination, self.now))):
            before = self.pacer.free(destination, self.now)
            self.pacer.begin(destination, self.now)
            self.under_way[destination] += 1
            assert self.pacer.free(destination, self.now) == before - 1

    @precondition(lambda self: self.under_way.total())
    @rule(data=st.data(), says=st.sampled_from(FELT), count=st.integers(1, 10))
    def end(self, data: st.DataObject, says: Felt, count: int) -> None:
        destination = data.draw(st.sampled_from(sorted(+self.under_way)))
        others = {each: self.pacer.free(each, self.now) for each in "abc" if each != destination}
        for _ in range(min(count, self.under_way[destination])):
            self.pacer.end(destination, says, self.now)
            self.under_way[destination] -= 1
        assert others == {each: self.pacer.free(each, self.now) for each in others}

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 7.0, 60.0, 2000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(destination=st.sampled_from("abc"))
    def recover(self, destination: str) -> None:
        """After whatever was, enough successes bring all back, and each is allowed in bounded time."""
        self.end_all(destination)
        for _ in range(500):
            if not self.pacer.free(destination, self.now):
                opens = self.pacer.next_opening(self.now)
                assert opens is not None
                self.now = max(opens, self.now + 0.001)
                assert self.now < math.inf
            else:
                self.pacer.begin(destination, self.now)
                self.pacer.end(destination, "well", self.now)
        state = pace(self.pacer, self.now, destination)
        assert (state.concurrency, state.why) == (self.limits.cap, None)
        assert state.rate == self.limits.per_second

    def end_all(self, destination: str) -> None:
        for _ in range(self.under_way.pop(destination, 0)):
            self.pacer.end(destination, "other", self.now)

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert max(self.under_way.values(), default=0) <= self.limits.cap
        assert all(self.pacer.free(each, self.now) >= 0 for each in "abc")

    @invariant()
    def nothing_under_way_is_forgotten(self) -> None:
        known = {each.destination: each.under_way for each in self.pacer.states(self.now)}
        assert {name: count for name, count in known.items() if count} == +self.under_way

    @invariant()
    def what_is_told_agrees(self) -> None:
        default = self.pacer.free("unknown", self.now)
        free = {each.destination: self.pacer.free(each.destination, self.now) for each in self.pacer.states(self.now)}
        assert set(self.pacer.closed(self.now)) == {name for name, room in free.items() if not room}
        assert self.pacer.room(self.now) == {name: room for name, room in free.items() if 0 < room < default}

    @invariant()
    def a_rest_is_bounded(self) -> None:
        for each in self.pacer.states(self.now):
            assert each.resting_until is None or each.resting_until <= self.now + self.limits.longest_rest

    @invariant()
    def what_is_told_to_open_opens(self) -> None:
        opens = self.pacer.next_opening(self.now)
        assert opens is None or opens > self.now
        assert opens is None or any(self.pacer.free(each, opens) for each in self.pacer.closed(self.now))


TestPacing = Pacing.TestCase
TestPacing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

steps = st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(["begin", *FELT]), st.floats(0, 30)), max_size=60)


@modest
@given(steps)
def test_destinations_do_not_influence_each_other(steps: list[tuple[str, str, float]]) -> None:
    both, alone, now, under_way = Pacer(LIMITS), Pacer(LIMITS), 0.0, Counter[str]()
    for destination, step, seconds in steps:
        now += seconds
        pacers = [both, alone] if destination == A else [both]
        for pacer in pacers:
            take(pacer, destination, step, now, under_way[destination])
        under_way[destination] = pace(both, now, destination).under_way if knows(both, destination) else 0
        assert both.free(A, now) == alone.free(A, now)


def take(pacer: Pacer, destination: str, step: str, now: float, under_way: int) -> None:
    for says in FELT:
        if says == step and under_way:
            pacer.end(destination, says, now)
    if step == "begin" and pacer.free(destination, now):
        pacer.begin(destination, now)


def knows(pacer: Pacer, destination: str) -> bool:
    return any(each.destination == destination for each in pacer.states(0.0))


def test_it_costs_next_to_nothing() -> None:
    pacer, names = Pacer(LIMITS), [f"{number}.example" for number in range(1000)]
    started = time.process_time()
    for number, name in enumerate(names * 10):
        if pacer.free(name, number / 1000):
            pacer.begin(name, number / 1000)
            pacer.end(name, "well", number / 1000)
    assert (time.process_time() - started) / 10_000 < 50e-6
