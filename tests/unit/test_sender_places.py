"""What has just arrived may begin at once only where it takes no place from anything older."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest

from sender.lanes import Lane
from sender.pacing import PaceLimits, Pacer
from sender.places import BELIEVED_SECONDS, Looks, Places
from sender.routing.hops import Hop
from sender.routing.reach import Reach
from sender.routing.rests import Rests
from sender.routing.routes import Relays, Routes

FAST, SLOW = "fast.test", "slow.test"
RELAY = Hop("relay.test", 25)
NO_TIME, SOME_TIME = 0.0, 5.0


class Desk:
    """Places, and looks into a queue that holds something for these destinations."""

    def __init__(self, concurrency: int = 8, room: int = 4) -> None:
        self.arrived = asyncio.Event()
        pacer = Pacer(PaceLimits(initial=room, cap=room))
        self.rests = Rests()
        reach = Reach(Routes(Relays((RELAY,)), {}), self.rests)
        self.places = Places(pacer, reach, concurrency, room, self.arrived)

    def look(self, found: Iterable[str] = (), *, at_all: bool = True, lane: Lane = "normal") -> None:
        """A look into the queue."""
        with self.places.looking():
            self.places.looked(lane, set(found), self.places.room(), at_all=at_all)

    async def claim(self, *destinations: str, lane: Lane = "normal", seconds: float = NO_TIME) -> list[bool]:
        """What of these may begin."""
        return await self.places.claim(lane, destinations, seconds)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_before_the_first_look_nobody_may_begin(desk: Desk) -> None:
    assert await desk.claim(FAST) == [False]


async def test_where_nothing_waits_a_newcomer_begins(desk: Desk) -> None:
    desk.look()
    assert await desk.claim(FAST, FAST) == [True, True]


async def test_a_newcomer_goes_behind_what_waits_already(desk: Desk) -> None:
    desk.look(found=[SLOW])
    assert await desk.claim(SLOW, FAST) == [False, True]
    desk.look()
    desk.places.queued("normal", [SLOW])
    assert await desk.claim(SLOW, FAST) == [False, True]


async def test_a_look_at_some_destinations_shows_nothing_of_the_others(desk: Desk) -> None:
    desk.look(found=[SLOW], at_all=False)
    assert await desk.claim(FAST) == [False]
    desk.look()
    desk.look(found=[SLOW], at_all=False)
    assert await desk.claim(SLOW, FAST) == [False, True]


async def test_a_destination_has_no_more_places_than_its_room(desk: Desk) -> None:
    desk.look()
    assert await desk.claim(*[FAST] * 5, SLOW) == [True] * 4 + [False, True]
    desk.places.end("normal", FAST, "well")
    assert await desk.claim(FAST, FAST) == [True, False]


async def test_a_process_has_no_more_places_than_its_concurrency_and_bulk_half_of_them() -> None:
    desk = Desk(concurrency=4)
    desk.look()
    desk.look(lane="bulk")
    assert await desk.claim("a.test", "b.test", "c.test", lane="bulk") == [True, True, False]
    assert await desk.claim("a.test", "b.test", "c.test") == [True, True, False]


async def test_a_look_that_could_not_see_a_full_destination_is_no_proof_for_it(desk: Desk) -> None:
    looks = Looks()
    looks.looked([], [SLOW], now=100.0)
    assert (looks.is_clear(FAST, 100.5), looks.is_clear(SLOW, 100.5)) == (True, False)
    looks.looked([SLOW], [], now=101.0)
    looks.looked([], [SLOW], now=102.0)
    assert not looks.is_clear(SLOW, 102.0)  # nobody has seen that what was found is gone
    looks.looked([], [], now=103.0)
    assert looks.is_clear(SLOW, 103.0)


def test_what_was_seen_is_believed_for_a_while() -> None:
    looks = Looks()
    looks.looked([], [], now=100.0)
    looks.looked([], [SLOW], now=101.0)
    assert looks.is_clear(SLOW, 100.0 + BELIEVED_SECONDS - 0.01)
    assert not looks.is_clear(SLOW, 100.0 + BELIEVED_SECONDS)
    assert looks.is_clear(FAST, 101.0 + BELIEVED_SECONDS - 0.01)


async def test_what_others_have_made_ready_may_be_anywhere(desk: Desk) -> None:
    desk.look()
    desk.places.forget()
    assert await desk.claim(FAST) == [False]


async def test_while_a_look_is_under_way_nobody_begins(desk: Desk) -> None:
    desk.look()
    with desk.places.looking():
        assert await desk.claim(FAST) == [False]
    assert await desk.claim(FAST) == [True]


async def test_a_look_that_is_needed_is_asked_for_and_waited_for(desk: Desk) -> None:
    claimed = asyncio.create_task(desk.claim(FAST, seconds=SOME_TIME))
    await desk.arrived.wait()
    desk.look()
    assert await claimed == [True]


async def test_places_that_fall_free_fast_are_waited_for(desk: Desk) -> None:
    desk.look()
    assert await desk.claim(*[FAST] * 4) == [True] * 4
    claimed = asyncio.create_task(desk.claim(FAST, FAST, seconds=SOME_TIME))
    while not claimed.done():
        await asyncio.sleep(0)
        desk.places.end("normal", FAST, "well")
        if desk.places.room().known.get(FAST, 4) == 4:
            break
    assert await claimed == [True, True]


async def test_a_destination_that_stands_still_is_not_waited_for(desk: Desk) -> None:
    desk.look()
    assert await desk.claim(*[SLOW] * 4) == [True] * 4
    async with asyncio.timeout(SOME_TIME / 2):
        assert await desk.claim(SLOW, FAST, seconds=SOME_TIME) == [False, True]


async def test_while_the_relay_is_away_nobody_begins_and_then_one_does(desk: Desk) -> None:
    desk.look()
    desk.rests.away(RELAY, time.monotonic() + 100)
    assert await desk.claim(FAST, SLOW) == [False, False]
    desk.look()  # which can see nothing
    desk.rests.well(RELAY)
    assert await desk.claim(FAST) == [True]  # by the look before
    desk.rests.away(RELAY, time.monotonic() - 100)
    assert await desk.claim("a.test", "b.test", "c.test") == [True, False, False]
