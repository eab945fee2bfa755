"""A memory alarm that every service feels: RabbitMQ blocks, and tells, only those who publish meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from local_stack.stack import SERVICES
from tests.conftest import eventually
from tests.faults.load import Load
from tests.faults.site import GO_ON, HALT, Site

WORK = 5


@asynccontextmanager
async def all_blocked(site: Site, load: Load) -> AsyncIterator[None]:
    """Out of memory as long as the block lasts; each service has something to publish and says that it cannot."""
    reader, complainant = await load.acted("read"), await load.acted("complains")
    for service in ("status-store", "sender"):  # what the sender does now waits for the store, what comes then for it
        site.signal(service, HALT)
        await eventually(partial(reached, load, load.confirmed + WORK))
    async with site.memory_alarm(), asyncio.TaskGroup() as group:
        for service in ("status-store", "sender"):
            site.signal(service, GO_ON)
        pokes = [group.create_task(load.once(each)) for each in (reader, complainant)]
        await asyncio.gather(*(site.until_unready(service, "blocked") for service in SERVICES))
        yield
        for poke in pokes:
            poke.cancel()


async def reached(load: Load, count: int) -> bool:
    """Whether so many requests are confirmed."""
    return load.confirmed >= count
