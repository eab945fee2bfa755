"""How many attempts a destination is given at once, and how fast: fewer where it asks for less; pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

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
    cause,
)

Felt = Literal["well", "slow_down", "away", "other"]
"""What an attempt says of its destination: it takes mail, it asks for less, it cannot be had, or nothing."""

Why = Literal["slow_down", "away"]

_RATE_STEPS = 100  # successes that bring the rate from nothing back to all
_LOWEST_RATE = 1 / 64  # of the full rate: even then it can show that it has recovered
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """`initial` and `cap` are attempts at once, `per_second` the highest rate (None: any); all else in seconds.

    Within `calm` several requests to slow down count once. A lost session within `grace` of a success is no outage.
    A rest lasts `rest`, doubled each time up to `longest_rest`. What was not used for `memory` starts afresh, and of
    more than `destinations` those least recently used.
    """

    initial: int = 5
    cap: int = 20
    per_second: float | None = None
    calm: float = 1.0
    grace: float = 5.0
    rest: float = 15.0
    longest_rest: float = 600.0
    memory: float = 900.0
    destinations: int = 10_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How a destination is treated, for metrics and operators; `rate` is per second, `why` says why it is held back."""

    destination: str
    under_way: int
    concurrency: int
    rate: float | None
    resting_until: float | None
    why: Why | None


class Room(NamedTuple):
    """How many attempts may begin: for destinations that are known, and for each of the others."""

    closed: Sequence[str]
    known: Mapping[str, int]
    others: int


@dataclass(slots=True)
class _State:
    """`to_end` counts those still under way from before the last lowering: they say nothing of what it brought."""

    concurrency: int
    rate: float
    tokens: float
    used_at: float
    under_way: int = 0
    credit: int = 0
    to_end: int = 0
    well_at: float = -math.inf
    lowered_at: float = -math.inf
    resting_until: float = -math.inf
    rest: float = 0.0
    probing: bool = False
    why: Why | None = None


def felt(result: Result, *, relayed: bool = False) -> Felt:
    """What an attempt's result says of its destination; `relayed`: what says no is not the destination itself."""
    match result:
        case Reply(code=code) if 200 <= code < 300:
            return "well"
        case Reply(code=code):
            category = cause(result).category
            is_busy = category in {"rate", "overloaded"} or (code == 421 and category != "greylisted")
            return "slow_down" if is_busy else "other"
        case Unreachable(met=False) if relayed:
            return "other"
        case Unreachable() | Lost(ours=False) | Unroutable(lasting=False):
            return "away"
        case Unroutable() | Lost() | Suppressed() | Expired() | Unsendable() | GivenUp():
            return "other"


class Pacer:
    """The destinations of one process, each by itself; `now` is in seconds and never goes back.

    Each `begin` has its `end`, whatever becomes of the attempt: one that was never made ends as "other".
    """

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._states: OrderedDict[str, _State] = OrderedDict()  # the least recently used first
        self._held: dict[str, _State] = {}  # all that may have less room than the default; only these are gone through
        self._default = _room(_fresh(limits, 0.0), limits, 0.0)

    def free(self, destination: str, now: float) -> int:
        """How many attempts may begin now."""
        state = self._states.get(destination)
        return self._default if state is None else _room(state, self._limits, now)

    def begin(self, destination: str, now: float) -> None:
        """An attempt begins."""
        state = self._states.get(destination)
        if state is None or _is_stale(state, self._limits, now):
            state = self._add(destination, now)
        self._use(destination, state, now)
        state.tokens -= 1
        state.under_way += 1

    def end(self, destination: str, felt: Felt, now: float) -> None:
        """An attempt is over: what it says of its destination sets the pace of the next."""
        state = self._states[destination]
        assert state.under_way > 0, f"more ends than beginnings: {destination}"
        self._use(destination, state, now)
        state.under_way -= 1
        is_old = state.to_end > 0
        state.to_end -= is_old
        match felt:
            case "well":
                _raise(state, self._limits, now)
            case "slow_down" | "away":
                if not is_old:
                    _lower(state, self._limits, felt, now)
            case "other":
                pass

    def closed(self, now: float) -> Sequence[str]:
        """Destinations without room now: full, resting, or ahead of their rate."""
        return [name for name, room in self._rooms(now).items() if not room]

    def room(self, now: float) -> Mapping[str, int]:
        """Destinations that have room, but less than one that is not known here."""
        return {name: room for name, room in self._rooms(now).items() if room}

    def next_opening(self, now: float) -> float | None:
        """When the first of those opens that wait for nothing but time; None if none does."""
        openings = (_opens_at(state, self._limits, now) for state in self._held.values())
        return min((at for at in openings if at > now), default=None)

    def states(self, now: float) -> Iterator[Pace]:
        """Every destination that is known here."""
        for name, state in self._states.items():
            rate = None if self._limits.per_second is None else state.rate
            resting_until = state.resting_until if state.resting_until > now else None
            yield Pace(name, state.under_way, state.concurrency, rate, resting_until, state.why)

    def _rooms(self, now: float) -> dict[str, int]:
        """Of those with less room than the default; time alone never takes room away, so the others are let go of."""
        rooms = {name: _room(state, self._limits, now) for name, state in self._held.items()}
        less = {name: room for name, room in rooms.items() if room < self._default}
        self._held = {name: self._held[name] for name in less}
        return less

    def _use(self, destination: str, state: _State, now: float) -> None:
        self._states.move_to_end(destination)
        self._held[destination] = state
        state.tokens = _tokens(state, self._limits, now)
        state.used_at = now

    def _add(self, destination: str, now: float) -> _State:
        self._forget(now)
        state = self._states[destination] = _fresh(self._limits, now)
        return state

    def _forget(self, now: float) -> None:
        """Of the least recently used those that are stale or too many, but never what is under way."""
        for _ in range(len(self._states)):
            name, state = next(iter(self._states.items()))
            if state.under_way:
                self._states.move_to_end(name)
            elif len(self._states) >= self._limits.destinations or _is_stale(state, self._limits, now):
                del self._states[name]
                self._held.pop(name, None)
            else:
                break


def _fresh(limits: PaceLimits, now: float) -> _State:
    rate = math.inf if limits.per_second is None else limits.per_second
    return _State(limits.initial, rate, tokens=_burst(rate), used_at=now)


def _is_stale(state: _State, limits: PaceLimits, now: float) -> bool:
    if state.under_way:
        return False
    has_token_at = state.used_at + max(0.0, 1 - state.tokens) / state.rate
    return now - max(has_token_at, state.resting_until) > limits.memory


def _room(state: _State, limits: PaceLimits, now: float) -> int:
    if now < state.resting_until:
        return 0
    if _is_stale(state, limits, now):
        state = _fresh(limits, now)
    room = _allowed(state) - state.under_way
    if limits.per_second is not None:
        room = min(room, int(_tokens(state, limits, now) + _ROUNDING))
    return max(0, room)


def _allowed(state: _State) -> int:
    return 1 if state.probing else state.concurrency


def _tokens(state: _State, limits: PaceLimits, now: float) -> float:
    """What the bucket holds: at most a second's worth, and always room for one."""
    if limits.per_second is None:
        return math.inf
    return min(_burst(state.rate), state.tokens + state.rate * (now - state.used_at))


def _burst(rate: float) -> float:
    return max(1.0, rate)


def _opens_at(state: _State, limits: PaceLimits, now: float) -> float:
    if state.under_way >= _allowed(state):
        return -math.inf
    missing = max(0.0, 1 - _tokens(state, limits, now))
    return max(state.resting_until, now + missing / state.rate)


def _raise(state: _State, limits: PaceLimits, now: float) -> None:
    """One more at once for each round of successes, as TCP does (RFC 5681, congestion avoidance)."""
    state.well_at, state.resting_until = now, -math.inf
    state.rest, state.probing = 0.0, False
    state.credit += 1
    if state.credit >= state.concurrency:
        state.concurrency, state.credit = min(limits.cap, state.concurrency + 1), 0
    if limits.per_second is not None:
        state.rate = min(limits.per_second, state.rate + limits.per_second / _RATE_STEPS)
    if state.concurrency >= limits.initial:
        state.why = None


def _lower(state: _State, limits: PaceLimits, why: Why, now: float) -> None:
    """Half as many, and a rest where that does not help."""
    if now - state.lowered_at < limits.calm:
        return
    is_outage = why == "away" and now - state.well_at > limits.grace
    if is_outage or state.probing or state.concurrency == 1:
        state.rest = min(limits.longest_rest, state.rest * 2 or limits.rest)
        state.resting_until, state.probing = now + state.rest, True
    state.concurrency, state.credit = max(1, state.concurrency // 2), 0
    if limits.per_second is not None:
        state.rate = max(limits.per_second * _LOWEST_RATE, state.rate / 2)
    state.lowered_at, state.to_end, state.why = now, state.under_way, why
