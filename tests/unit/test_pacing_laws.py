"""The laws of pacing, whatever the destinations say and in whatever order."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sender.pacing import Felt, PaceLimits, Pacer
from tests.unit.samples import modest
from tests.unit.test_pacing import FELT, LIMITS, A, B, pace


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
    @rule(data=st.data(), says=st.sampled_from(FELT), count=st.integers(1, 3))
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
