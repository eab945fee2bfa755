"""Breadth-first search through every world that can come about, and whether each can still end well."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

from tests.model.promises import PROMISES, Promise
from tests.model.protocol import is_over, steps
from tests.model.world import Rules, Sender, State, Step, World

STUCK = "every confirmed request ends terminal or parked for each recipient"

Move = tuple[State, str, State]


class Found(NamedTuple):
    """How many worlds and steps there are, how rows moved, and which promise was broken by which shortest way."""

    worlds: int
    steps: int
    moves: frozenset[Move]
    broken: str | None = None
    trace: tuple[str, ...] = ()


class Seen:
    """The worlds reached, in order, each with the one that it was first reached from; and every step between two."""

    def __init__(self) -> None:
        self.worlds: list[World] = []
        self.moves: set[Move] = set()
        self.sources, self.targets = array("L"), array("L")
        self._numbers: dict[World, int] = {}
        self._parents = array("l")

    def add(self, world: World, parent: int) -> int:
        """The number of a world, new or known."""
        number = self._numbers.setdefault(world, len(self.worlds))
        if number == len(self.worlds):
            self.worlds.append(world)
            self._parents.append(parent)
        return number

    def step(self, source: int, world: World) -> None:
        """Note that one world leads to another."""
        target = self.add(world, source)
        self.sources.append(source)
        self.targets.append(target)

    def way_to(self, number: int) -> list[World]:
        """The shortest way to a world."""
        way = [number]
        while self._parents[way[-1]] >= 0:
            way.append(self._parents[way[-1]])
        return [self.worlds[each] for each in reversed(way)]


def search(beginnings: Iterable[World], rules: Rules, promises: Mapping[str, Promise] = PROMISES) -> Found:
    """Look at every world that can be reached, until a promise is broken or there is none left."""
    seen = Seen()
    starts = list(beginnings)
    for world in starts:
        seen.add(simplest(world), -1)
    # The list grows while it is read.
    for source, world in enumerate(seen.worlds):
        taken = list(steps(world, rules))
        if not taken and not is_over(world):
            return found(seen, STUCK, told(seen.way_to(source), starts, rules))
        for step in taken:
            seen.moves.update(moves(world, step))
            if broken := next((name for name, holds in promises.items() if not holds(world, step)), None):
                return found(seen, broken, told([*seen.way_to(source), simplest(step.world)], starts, rules))
            seen.step(source, simplest(step.world))
    if (stuck := first_stuck(seen)) is not None:
        return found(seen, STUCK, told(seen.way_to(stuck), starts, rules))
    return found(seen)


def found(seen: Seen, broken: str | None = None, trace: tuple[str, ...] = ()) -> Found:
    """The result of a search."""
    return Found(len(seen.worlds), len(seen.sources), frozenset(seen.moves), broken, trace)


def moves(world: World, step: Step) -> Iterator[Move]:
    """How the rows moved by a step."""
    for was, now in zip(world.deliveries, step.world.deliveries, strict=True):
        if (was.state, was.fence, was.answered) != (now.state, now.fence, now.answered):
            yield was.state, step.action, now.state


def first_stuck(seen: Seen) -> int | None:
    """The first world from which no end can be reached: that of a dead end or of a ring without a way out."""
    ends_well = bytearray(is_over(world) for world in seen.worlds)
    count = -1
    while count != (count := sum(ends_well)):
        # Backwards, as most steps lead to later worlds: a few passes do.
        for source, target in zip(reversed(seen.sources), reversed(seen.targets), strict=True):
            if ends_well[target]:
                ends_well[source] = 1
    stuck = ends_well.find(0)
    return None if stuck < 0 else stuck


def told(way: list[World], starts: Iterable[World], rules: Rules) -> tuple[str, ...]:
    """The words of a way; it is gone again, since in their simplest form worlds forget who was who."""
    world = next(each for each in starts if simplest(each) == way[0])
    words = [
        f"the broker confirms the request, published {world.broker} ×" + ", on_unknown: park" * world.deliveries[0].park
    ]
    for target in way[1:]:
        step = next(each for each in steps(world, rules) if simplest(each.world) == target)
        words.append(step.words)
        world = step.world
    return tuple(words)


def simplest(world: World) -> World:
    """The same for all worlds that differ only in the names of senders and recipients and in the size of fences."""
    world = with_small_fences(world)
    if len(world.deliveries) == 1:
        return world._replace(senders=tuple(sorted(world.senders)))
    return min(reordered(world, order) for order in permutations(range(len(world.deliveries))))


def reordered(world: World, order: tuple[int, ...]) -> World:
    """The world with its recipients in another order."""
    rows = tuple(world.deliveries[no] for no in order)
    senders = (each if each.doing == "idle" else each._replace(no=order.index(each.no)) for each in world.senders)
    return world._replace(deliveries=rows, senders=tuple(sorted(senders)))


def with_small_fences(world: World) -> World:
    """The world with fences numbered anew: only their order counts."""
    for no, row in enumerate(world.deliveries):
        used = sorted({row.fence, *(each.fence for each in world.senders if each.no == no and each.doing != "idle")})
        if used[-1] >= len(used):
            world = renumbered(world, no, used)
    return world


def renumbered(world: World, no: int, used: list[int]) -> World:
    """The world with the fences of one recipient replaced by their rank."""
    row = world.deliveries[no]
    rows = list(world.deliveries)
    rows[no] = row._replace(fence=used.index(row.fence))
    senders = (ranked(each, used) if each.no == no and each.doing != "idle" else each for each in world.senders)
    return world._replace(deliveries=tuple(rows), senders=tuple(senders))


def ranked(sender: Sender, used: list[int]) -> Sender:
    return sender._replace(fence=used.index(sender.fence))
