"""SIGKILL of the pixel, of the broker and of both while people open mails: what was answered is stored, once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from statistics import quantiles
from uuid import UUID

import aiohttp
import pytest
from uuid_utils.compat import uuid7

from tests.conftest import eventually
from tests.faults.site import KILL, Site
from tests.pixels import look, path

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

Tell = Callable[[object], None]
STORED = "SELECT message_id, count(*) AS count FROM events WHERE message_id = ANY ($1::uuid[]) GROUP BY 1"
SETTLED_SECONDS = 60.0
PERSONS = 20
PAUSE = 0.1


@dataclass
class Opening:
    """People who open one mail after the other; who got no image does not know whether the open counts."""

    site: Site
    session: aiohttp.ClientSession
    answered: set[UUID] = field(default_factory=set)
    unanswered: set[UUID] = field(default_factory=set)
    waits: list[float] = field(default_factory=list)

    async def read(self) -> None:
        """One person; for ever."""
        url = self.site.stack.environment["TRACEPOST_SENDER_PIXEL_URL"]
        while True:
            message_id = uuid7()
            self.site.known.add(message_id)
            self.unanswered.add(message_id)
            began = time.monotonic()
            try:
                await look(self.session, url + path(self.site.keyring, message_id))
                self.waits.append(time.monotonic() - began)
                self.answered.add(message_id)
                self.unanswered.discard(message_id)
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(PAUSE)

    async def more(self, count: int) -> None:
        """Wait until so many more were answered."""
        until = len(self.answered) + count

        async def enough() -> bool:
            return len(self.answered) >= until

        await eventually(enough, deadline=30)

    async def stored(self) -> bool:
        """Each open that was answered is stored once, the others at most once."""
        counts = await self.site.pairs("status", STORED, list(self.answered | self.unanswered))
        missing = [each for each in self.answered if each not in counts]
        assert not missing, f"{len(missing)} of {len(self.answered)} opens that were answered are not stored"
        twice = [each for each, count in counts.items() if count > 1]
        assert not twice, f"{len(twice)} opens are stored several times"
        return True


@asynccontextmanager
async def people(site: Site) -> AsyncIterator[Opening]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        opening = Opening(site, session)
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(opening.read()) for _ in range(PERSONS)]
            try:
                yield opening
            finally:
                for task in reading:
                    task.cancel()


async def kill_pixel(site: Site, _: Opening) -> None:
    site.signal("pixel", KILL)
    await site.ended("pixel")
    await site.start("pixel")


async def kill_broker(site: Site, opening: Opening) -> None:
    await site.node.kill()
    await opening.more(20)  # from the spool
    await site.node.start()


async def kill_both(site: Site, opening: Opening) -> None:
    await site.node.kill()
    await opening.more(20)
    await kill_pixel(site, opening)  # with a spool that nobody has drained
    await opening.more(20)
    await site.node.start()


async def kill_both_at_once(site: Site, opening: Opening) -> None:
    await asyncio.gather(site.node.kill(), kill_pixel(site, opening))
    await site.node.start()


Fault = Callable[[Site, Opening], Awaitable[None]]


async def killed(site: Site, tell: Tell, faults: Sequence[Fault]) -> None:
    async with people(site) as opening:
        for fault in faults:
            await opening.more(20)
            await fault(site, opening)
        await opening.more(20)
    await site.until_ready()
    await eventually(opening.stored, SETTLED_SECONDS)
    counts = Counter(fault.__name__ for fault in faults)
    percentiles = quantiles(opening.waits, n=100)
    took = f"p50 {percentiles[49] * 1e3:.0f} ms, p99 {percentiles[98] * 1e3:.0f} ms"
    tell(f"{dict(counts)}: {len(opening.answered)} opens answered ({took}), {len(opening.unanswered)} not")


async def test_kills_lose_no_open_that_was_answered(site: Site, tell: Tell) -> None:
    await killed(site, tell, [kill_pixel, kill_both, kill_pixel])


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_hundred_kills_lose_no_open_that_was_answered(site: Site, tell: Tell) -> None:
    often: dict[Fault, int] = {kill_pixel: 70, kill_broker: 10, kill_both: 10, kill_both_at_once: 10}
    faults = [fault for fault, times in often.items() for _ in range(times)]
    Random(7).shuffle(faults)
    await killed(site, tell, faults)
