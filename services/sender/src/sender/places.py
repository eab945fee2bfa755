"""Says which attempts may begin: where there is a slot, room at the destination, and nothing older that waits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sender import lanes
from sender.lanes import Lane
from sender.pacing import Felt, Pacer, Room
from sender.routing.reach import Reach

BELIEVED_SECONDS = 2.0  # a look that found nothing ready: others make deliveries ready too
SOON_SECONDS = 0.01  # in which half of the places asked for must fall free, to be worth waiting for


@dataclass(slots=True)
class Looks:
    """What looks into the queue have shown of a lane; times are of the monotonic clock."""

    behind: set[str] = field(default_factory=set)  # destinations for which something is ready
    at: float = float("-inf")  # of the last look at all destinations
    before: dict[str, float] = field(default_factory=dict)  # of those without room then: the last look at them

    def is_clear(self, destination: str, now: float) -> bool:
        """Nothing is ready for it, as far as is known, and that is known well enough."""
        return destination not in self.behind and self.is_known(destination, now)

    def is_known(self, destination: str, now: float) -> bool:
        """There was a look at it lately."""
        return now - self.before.get(destination, self.at) < BELIEVED_SECONDS

    def looked(self, found: Collection[str], unseen: Collection[str], now: float) -> None:
        """A look at all destinations found something ready for these, and could not see those."""
        self.before = {each: self.before.get(each, self.at) for each in unseen}
        self.behind = {*found, *self.behind.intersection(unseen)}
        self.at = now


@dataclass(slots=True, eq=False)
class _Wait:
    """Somebody who waits for `ends` more attempts to end at these destinations, or else for a look."""

    destinations: Collection[str]
    ends: int
    for_look: bool
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def ended(self, destination: str) -> None:
        """An attempt has ended there."""
        self.ends -= destination in self.destinations
        if self.ends <= 0:
            self.over.set()

    def looked(self) -> None:
        """A look is over."""
        if self.for_look:
            self.over.set()


class Places:
    """The attempts of one process: each `begin`, and each claim that was granted, has its `end`.

    `others` is the room of a destination that is not known; `arrived` is set when a look would let somebody begin.
    """

    def __init__(self, pacer: Pacer, reach: Reach, concurrency: int, others: int, arrived: asyncio.Event) -> None:
        self._pacer, self._reach, self._arrived = pacer, reach, arrived
        self._concurrency, self._others = concurrency, others
        self._taken: Counter[Lane] = Counter()
        self._at: Counter[str] = Counter()
        self._looks: dict[Lane, Looks] = {"normal": Looks(), "bulk": Looks()}
        self._waits: set[_Wait] = set()
        self._looking = False

    def slots(self) -> lanes.Slots:
        """How many attempts may begin now, wherever they go."""
        free = lanes.free(self._concurrency, self._taken["normal"], self._taken["bulk"])
        return self._reach.slots(free, time.monotonic())

    def room(self) -> Room:
        """How many may begin now, by destination."""
        now = time.monotonic()
        # Those that were given more than at first are known by what is under way to them.
        known = {each: self._pacer.free(each, now) for each in self._at} | dict(self._pacer.room(now))
        return self._reach.room(Room(self._pacer.closed(now), known, self._others), now)

    def begin(self, lane: Lane, destination: str) -> None:
        """An attempt begins."""
        now = time.monotonic()
        self._pacer.begin(destination, now)
        self._reach.begin(destination, now)
        self._taken[lane] += 1
        self._at[destination] += 1

    def end(self, lane: Lane, destination: str, felt: Felt) -> None:
        """An attempt is over, or was never made."""
        self._pacer.end(destination, felt, time.monotonic())
        self._taken[lane] -= 1
        self._at[destination] -= 1
        if not self._at[destination]:
            del self._at[destination]
        for wait in self._waits:
            wait.ended(destination)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """While a look into the queue is under way nobody else begins: they would be given the same room."""
        self._looking = True
        try:
            yield
        finally:
            self._looking = False
            for wait in self._waits:
                wait.looked()

    def looked(self, lane: Lane, found: Collection[str], room: Room, *, at_all: bool) -> None:
        """A look into the queue found something ready for these; `at_all` if it left out only who had no room."""
        if at_all and room.others > 0:
            unseen = {*room.closed, *(each for each, free in room.known.items() if free <= 0)}
            self._looks[lane].looked(found, unseen, time.monotonic())
        else:
            self.queued(lane, found)

    def queued(self, lane: Lane, destinations: Iterable[str]) -> None:
        """Something is ready for these."""
        self._looks[lane].behind.update(destinations)

    def forget(self) -> None:
        """Something may be ready for anyone."""
        self._looks = {"normal": Looks(), "bulk": Looks()}

    async def claim(self, lane: Lane, destinations: Sequence[str], seconds: float) -> list[bool]:
        """For which of these newcomers an attempt has begun; it waits up to `seconds` while places fall free fast."""
        asked, end = Counter(destinations), time.monotonic() + seconds
        while self._must_wait(lane, asked) and time.monotonic() < end:
            if not await self._eased(lane, asked):
                break
        return [self._claimed(lane, each) for each in destinations]

    def _must_wait(self, lane: Lane, asked: Counter[str]) -> bool:
        """Not all of these may begin now."""
        now = time.monotonic()
        return (
            self._looking
            or self._free(lane) < asked.total()
            or any(self._room(each, now) < count for each, count in asked.items())
            or not all(self._looks[lane].is_clear(each, now) for each in asked)
        )

    async def _eased(self, lane: Lane, asked: Counter[str]) -> bool:
        """Wait for half as many ends as places are asked for, or for a look that is needed; False: they do not come."""
        now = time.monotonic()
        unknown = [each for each in asked if not self._looks[lane].is_known(each, now)]
        if not self._looking and any(self._room(each, now) for each in unknown):
            self._arrived.set()
        wait = _Wait(asked, max(1, asked.total() // 2), for_look=bool(unknown) or self._looking)
        self._waits.add(wait)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SOON_SECONDS):
                    await wait.over.wait()
        finally:
            self._waits.discard(wait)
        return wait.over.is_set()

    def _claimed(self, lane: Lane, destination: str) -> bool:
        now = time.monotonic()
        free = not self._looking and self._free(lane) and self._room(destination, now)
        if free and self._looks[lane].is_clear(destination, now):
            self.begin(lane, destination)
            return True
        return False

    def _room(self, destination: str, now: float) -> int:
        return self._reach.free(destination, self._pacer.free(destination, now), now)

    def _free(self, lane: Lane) -> int:
        slots = self.slots()
        return slots.normal if lane == "normal" else slots.bulk
