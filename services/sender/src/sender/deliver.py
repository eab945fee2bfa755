"""Sends what is due: leases it in fair shares, has it attempted, and holds the leases meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from sender import lanes
from sender.pacing import Felt, Pacer
from sender.settings import SenderSettings
from sender.store import Key, Lane, Leased, Queue, Room
from tracepost import postgres
from tracepost.runner import background

log = structlog.get_logger()

POLL_SECONDS = 1.0
WOKEN_AT_ONCE = 1_000


@dataclass
class Desk:
    """What is under way, and where the next share of each lane begins."""

    queue: Queue
    pacer: Pacer
    settings: SenderSettings
    attempt: Callable[[Leased], Awaitable[Felt]]
    arrived: asyncio.Event  # set when there may be something to begin
    under_way: dict[Key, Leased] = field(default_factory=dict)
    after: dict[Lane, str] = field(default_factory=lambda: {"normal": "", "bulk": ""})
    more: bool = True  # the last look into the queue found something, or was kept from it

    def begin(self, leased: Leased, group: asyncio.TaskGroup) -> None:
        """Start an attempt; its end makes room for another."""
        self.pacer.begin(leased.destination, time.monotonic())
        self.under_way[leased.key] = leased
        group.create_task(self._paced(leased))

    def end(self, leased: Leased, group: asyncio.TaskGroup) -> None:
        """Put on the record what is decided without another word to the destination."""
        self.under_way[leased.key] = leased
        group.create_task(self._attempt(leased))

    async def _paced(self, leased: Leased) -> None:
        felt: Felt = "other"
        try:
            felt = await self._attempt(leased)
        finally:
            self.pacer.end(leased.destination, felt, time.monotonic())
            if self.more:
                self.arrived.set()

    async def _attempt(self, leased: Leased) -> Felt:
        try:
            return await self.attempt(leased)
        except Exception:
            # What fails here is found again when the lease runs out.
            log.exception("attempt failed", message_id=leased.message_id, attempt=leased.attempt)
            return "other"
        finally:
            self.under_way.pop(leased.key, None)


@asynccontextmanager
async def sending(desk: Desk) -> AsyncIterator[None]:
    """Send what is due until the block ends, then finish the attempts that run."""
    stopping = asyncio.Event()
    async with background(_hold(desk)), asyncio.TaskGroup() as group:
        group.create_task(_lease_and_begin(desk, group, stopping))
        group.create_task(_watch_the_time(desk, group, stopping))
        try:
            yield
        finally:
            log.info("finishing attempts", under_way=len(desk.under_way))
            stopping.set()
            desk.arrived.set()


async def _lease_and_begin(desk: Desk, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        desk.arrived.clear()
        try:
            await _take(desk, group)
        except postgres.TRANSIENT as error:
            log.warning("cannot lease", reason=repr(error))
        await _any_of(desk.arrived, POLL_SECONDS)


async def _any_of(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _take(desk: Desk, group: asyncio.TaskGroup) -> None:
    """Begin as much as there is room for, the normal lane first."""
    under_way = Counter(leased.lane for leased in desk.under_way.values())
    slots = lanes.free(desk.settings.concurrency, under_way["normal"], under_way["bulk"])
    normal = await _lease(desk, group, "normal", slots.normal)
    bulk = await _lease(desk, group, "bulk", min(slots.bulk, slots.normal - len(normal)))
    desk.more = bool(normal or bulk or desk.pacer.closed(time.monotonic()))


async def _lease(desk: Desk, group: asyncio.TaskGroup, lane: Lane, count: int) -> list[Leased]:
    if count <= 0:
        return []
    room = _room(desk.pacer, {each.destination for each in desk.under_way.values()}, desk.settings.first_attempts)
    leased = await desk.queue.lease(lane, count, room, desk.after[lane])
    # A share that was too small for all destinations is followed by one that begins after them.
    last = max((each.destination for each in leased), default="") if len(leased) == count else ""
    if not leased and desk.after[lane]:
        desk.after[lane] = ""
        return await _lease(desk, group, lane, count)
    desk.after[lane] = last
    for each in leased:
        desk.begin(each, group)
    return leased


def _room(pacer: Pacer, under_way: Iterable[str], others: int) -> Room:
    now = time.monotonic()
    # Those that were given more than at first are known by what is under way to them.
    known = {each: pacer.free(each, now) for each in under_way} | dict(pacer.room(now))
    return Room(pacer.closed(now), known, others)


async def _watch_the_time(desk: Desk, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
    """Make ready what has waited, and put on the record what stayed in doubt or has expired."""
    queue = desk.queue
    while not stopping.is_set():
        try:
            while await queue.wake(WOKEN_AT_ONCE):
                desk.arrived.set()
            at_once = desk.settings.concurrency
            for each in [*await queue.doubtful(at_once), *await queue.overdue(at_once)]:
                desk.end(each, group)
        except postgres.TRANSIENT as error:
            log.warning("cannot look at what is due", reason=repr(error))
        await _any_of(stopping, POLL_SECONDS)


async def _hold(desk: Desk) -> None:
    """Renew the leases of what is under way."""
    while True:
        await asyncio.sleep(desk.settings.lease_seconds / 3)
        try:
            await desk.queue.renew(list(desk.under_way.values()))
        except postgres.TRANSIENT as error:
            log.warning("cannot renew leases", reason=repr(error))
