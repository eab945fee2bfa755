"""Sends what is due: leases it in fair shares, has it attempted, and holds the leases meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from sender.lanes import Lane
from sender.pacing import Felt
from sender.places import Places
from sender.settings import SenderSettings
from sender.store import Key, Leased, Queue
from tracepost import postgres
from tracepost.runner import background

log = structlog.get_logger()

POLL_SECONDS = 1.0
WOKEN_AT_ONCE = 1_000


@dataclass
class Desk:
    """What is under way, and where the next share of each lane begins."""

    queue: Queue
    places: Places
    settings: SenderSettings
    attempt: Callable[[Leased], Awaitable[Felt]]
    arrived: asyncio.Event  # set when there may be something to begin
    under_way: dict[Key, Leased] = field(default_factory=dict)
    after: dict[Lane, str] = field(default_factory=lambda: {"normal": "", "bulk": ""})
    more: bool = True  # the last look into the queue found something, or was kept from it
    group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)

    def begin(self, leased: Leased) -> None:
        """Start an attempt that has its place; its end makes room for another."""
        self.under_way[leased.key] = leased
        self.group.create_task(self._placed(leased))

    def end(self, leased: Leased) -> None:
        """Put on the record what is decided without another word to the destination."""
        self.under_way[leased.key] = leased
        self.group.create_task(self._attempt(leased))

    async def _placed(self, leased: Leased) -> None:
        felt: Felt = "other"
        try:
            felt = await self._attempt(leased)
        finally:
            self.places.end(leased.lane, leased.destination, felt)
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
    async with background(_hold(desk)), desk.group as group:
        group.create_task(_lease_and_begin(desk, stopping))
        group.create_task(_watch_the_time(desk, stopping))
        try:
            yield
        finally:
            log.info("finishing attempts", under_way=len(desk.under_way))
            stopping.set()
            desk.arrived.set()


async def _lease_and_begin(desk: Desk, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        desk.arrived.clear()
        try:
            await _take(desk)
        except postgres.TRANSIENT as error:
            log.warning("cannot lease", reason=repr(error))
        await _any_of(desk.arrived, POLL_SECONDS)


async def _any_of(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _take(desk: Desk) -> None:
    """Begin as much as there is room for, the normal lane first."""
    with desk.places.looking():
        slots = desk.places.slots()
        normal = await _lease(desk, "normal", slots.normal)
        bulk = await _lease(desk, "bulk", min(slots.bulk, slots.normal - len(normal)))
    desk.more = bool(normal or bulk or desk.places.room().closed)


async def _lease(desk: Desk, lane: Lane, count: int) -> list[Leased]:
    if count <= 0:
        return []
    room, after = desk.places.room(), desk.after[lane]
    leased = await desk.queue.lease(lane, count, room, after)
    found = {each.destination for each in leased}
    desk.places.looked(lane, found, room, at_all=not after and len(leased) < count)
    # A share that was too small for all destinations is followed by one that begins after them.
    desk.after[lane] = max(found, default="") if len(leased) == count else ""
    if not leased and after:
        return await _lease(desk, lane, count)
    for each in leased:
        desk.places.begin(lane, each.destination)
        desk.begin(each)
    return leased


async def _watch_the_time(desk: Desk, stopping: asyncio.Event) -> None:
    """Make ready what has waited, and put on the record what stayed in doubt or has expired."""
    queue = desk.queue
    while not stopping.is_set():
        try:
            while await queue.wake(WOKEN_AT_ONCE):
                desk.places.forget()
                desk.arrived.set()
            at_once = desk.settings.concurrency
            for each in [*await queue.doubtful(at_once), *await queue.overdue(at_once)]:
                desk.end(each)
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
