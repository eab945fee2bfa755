"""Schedules of faults drawn from a seed: the same seed gives the same faults in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

from local_stack.stack import SERVICES
from tests.faults.site import GO_ON, HALT, KILL, TERMINATE, Site

Fault = Callable[[Site, float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Step:
    """Faults that happen to different targets at the same time, `after` so many quiet seconds."""

    after: float
    faults: tuple[tuple[str, str, float], ...]  # target, fault, seconds

    def __str__(self) -> str:
        told = (f"{target} {fault} for {seconds:.1f} s" for target, fault, seconds in self.faults)
        return f"after {self.after:.1f} s: {' while '.join(told)}"


async def broker_stops(site: Site, seconds: float) -> None:
    await site.node.stop()
    await asyncio.sleep(seconds)
    await site.node.start()


async def broker_closes_connections(site: Site, _: float) -> None:
    await site.close_connections()


async def broker_is_out_of_memory(site: Site, seconds: float) -> None:
    async with site.memory_alarm():
        await asyncio.sleep(seconds)


async def database_stops(site: Site, seconds: float) -> None:
    await site.database.stop()
    await asyncio.sleep(seconds)
    await site.database.start()


async def database_crashes(site: Site, seconds: float) -> None:
    await site.database.kill()
    await asyncio.sleep(seconds)
    await site.database.start()


async def service_is_killed(service: str, site: Site, seconds: float) -> None:
    await site.heal(service)
    site.signal(service, KILL)
    await site.ended(service)
    await asyncio.sleep(seconds)
    await site.start(service)


async def service_is_stopped(service: str, site: Site, seconds: float) -> None:
    await site.heal(service)
    site.signal(service, TERMINATE)
    await site.ended(service)
    await asyncio.sleep(seconds)
    await site.start(service)


async def service_stands_still(service: str, site: Site, seconds: float) -> None:
    await site.heal(service)
    site.signal(service, HALT)
    try:
        await asyncio.sleep(seconds)
    finally:
        site.signal(service, GO_ON)


FAULTS: dict[str, dict[str, Fault]] = {
    "broker": {
        "stops": broker_stops,
        "closes connections": broker_closes_connections,
        "is out of memory": broker_is_out_of_memory,
    },
    "database": {"stops": database_stops, "crashes": database_crashes},
    **{
        service: {
            "is killed": partial(service_is_killed, service),
            "is stopped": partial(service_is_stopped, service),
            "stands still": partial(service_stands_still, service),
        }
        for service in SERVICES
    },
}


def drawn(seed: int) -> Iterator[Step]:
    """Steps without end."""
    random = Random(seed)
    while True:
        targets = random.sample(sorted(FAULTS), random.choice((1, 1, 2, 3)))
        faults = [(target, random.choice(sorted(FAULTS[target])), random.uniform(0, 8)) for target in targets]
        yield Step(random.uniform(0.5, 4), tuple(faults))


async def carry_out(site: Site, step: Step) -> None:
    """Let it happen, and start again what it ended."""
    await asyncio.sleep(step.after)
    await asyncio.gather(*(FAULTS[target][fault](site, seconds) for target, fault, seconds in step.faults))
    for service in SERVICES:
        await site.heal(service)
