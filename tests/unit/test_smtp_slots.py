"""Who may use a connection: in order within a route, routes in turn, and never more than there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.routing.hops import Hop
from sender.smtp.slots import Slots

ROUTES = [Hop(name, 25) for name in "abcde"]
A, B, C, *_ = ROUTES


class Users:
    """Tasks that wait for slots; `served` says in which order they got one."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Each waits for the route that its first letter names."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._use(name))
        await settled()

    async def _use(self, name: str) -> None:
        await self.slots.acquire(Hop(name[0], 25))
        self.served.append(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiters_of_a_route_are_served_in_order() -> None:
    users = Users(Slots(connections=1, overall=10))
    await users.come("a1", "a2", "a3")
    assert users.served == ["a1"]
    users.slots.release(A)
    await settled()
    assert users.served == ["a1", "a2"]
    users.slots.release(A)
    await settled()
    assert users.served == ["a1", "a2", "a3"]


async def test_a_full_route_holds_up_no_other() -> None:
    users = Users(Slots(connections=2, overall=4))
    await users.come("a1", "a2", "a3", "a4", "b1", "c1")
    assert users.served == ["a1", "a2", "b1", "c1"]


async def test_routes_take_turns_when_all_is_taken() -> None:
    users = Users(Slots(connections=2, overall=2))
    await users.come("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")
    for route in (A, A, B, C):
        users.slots.release(route)
        await settled()
    assert users.served == ["a1", "a2", "b1", "c1", "a3", "b2"]


async def test_a_cancelled_waiter_takes_nothing() -> None:
    users = Users(Slots(connections=1, overall=1))
    await users.come("a1", "a2", "b1")
    users.tasks["a2"].cancel()
    await settled()
    users.slots.release(A)
    await settled()
    assert users.served == ["a1", "b1"]


async def test_a_waiter_cancelled_in_the_moment_it_is_served_gives_back() -> None:
    users = Users(Slots(connections=1, overall=1))
    await users.come("a1", "a2", "a3")
    users.slots.release(A)
    users.tasks["a2"].cancel()
    await settled()
    assert users.served == ["a1", "a3"]


async def test_a_connection_being_closed_holds_its_route_alone() -> None:
    users = Users(Slots(connections=1, overall=1))
    await users.come("a1", "a2", "b1")
    users.slots.leave()
    await settled()
    assert users.served == ["a1", "b1"]
    users.slots.release(B)
    users.slots.drop(A)
    await settled()
    assert users.served == ["a1", "b1", "a2"]


class Crowd:
    """Random users who come, leave and give up, and the count of who holds what."""

    def __init__(self, random: Random, connections: int, overall: int) -> None:
        self.random, self.slots, self.most = random, Slots(connections, overall), (connections, overall)
        self.held: Counter[Hop] = Counter()
        self.waiting: dict[asyncio.Task[None], None] = {}
        self.steps: list[Callable[[], None]] = [self.come, self.come, self.leave, self.give_up]

    def come(self) -> None:
        task = asyncio.create_task(self._wait(self.random.choice(ROUTES)))
        self.waiting[task] = None
        task.add_done_callback(self.waiting.pop)

    async def _wait(self, route: Hop) -> None:
        await self.slots.acquire(route)
        self.held[route] += 1

    def leave(self) -> None:
        if holders := list(self.held.elements()):
            route = self.random.choice(holders)
            self.held[route] -= 1
            self.slots.release(route)

    def give_up(self) -> None:
        if self.waiting:
            self.random.choice([*self.waiting]).cancel()

    def check(self) -> None:
        connections, overall = self.most
        assert max(self.held.values(), default=0) <= connections
        assert self.held.total() <= overall


@given(st.integers(0), st.integers(1, 3), st.integers(1, 6))
def test_no_slot_is_lost_or_made(seed: int, connections: int, overall: int) -> None:
    async def play(random: Random) -> None:
        crowd = Crowd(random, connections, overall)
        for _ in range(120):
            random.choice(crowd.steps)()
            if random.random() < 0.5:
                await asyncio.sleep(0)
                crowd.check()
        while crowd.waiting or crowd.held.total():
            await settled()
            crowd.check()
            crowd.leave()
        assert crowd.slots.free == overall
        assert not crowd.slots._lanes
        assert not crowd.slots._due

    asyncio.run(play(Random(seed)))


async def test_what_is_free_is_taken_without_waiting() -> None:
    slots = Slots(connections=1, overall=1)
    await slots.acquire(A)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await slots.acquire(C)
    slots.release(A)
    assert slots.free == 1
