"""SIGKILL at each crash point, SIGTERM in the middle of work: nothing is lost, and each extra copy is on the record."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil

import pytest

from local_stack.stack import SERVICES
from tests.conftest import ROOT, eventually
from tests.faults.alarm import all_blocked
from tests.faults.load import Load, loading
from tests.faults.settle import settle
from tests.faults.site import KILL, TERMINATE, Site
from tracepost import crash

Tell = Callable[[object], None]

on_the_site = pytest.mark.asyncio(loop_scope="session")
SOURCES = ("shared/src", *(f"services/{service}/src" for service in SERVICES))
REACHED_WITHIN = 25.0


def test_every_declared_point_is_in_the_code_once_and_no_other() -> None:
    texts = [path.read_text() for source in SOURCES for path in (ROOT / source).rglob("*.py")]
    assert sorted(re.findall(r'crash\.point\("([^"]*)"\)', "".join(texts))) == sorted(crash.POINTS)


def test_an_undeclared_point_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names 'sender\.nowhere'"):
        crash.killing("sender.nowhere:1", None)


@on_the_site
async def test_a_kill_at_each_crash_point_loses_nothing(site: Site, tell: Tell) -> None:
    await killed(site, tell, crash.POINTS)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@on_the_site
async def test_a_hundred_kills_of_the_sender_lose_nothing(site: Site, tell: Tell) -> None:
    points = [point for point in crash.POINTS if victim(point) == "sender"]
    await killed(site, tell, points * ceil(100 / len(points)))


async def killed(site: Site, tell: Tell, points: Sequence[str]) -> None:
    """Kill at one of these points after the other, under load; tells how often each fired, and what came of it."""
    log = site.folder / "crashes"
    log.unlink(missing_ok=True)
    async with loading(site, rate=10, bad=True) as load:
        await killed_while_nothing_gets_out(site, load)
        async with asyncio.TaskGroup() as group:
            for service in SERVICES:
                group.create_task(crashed(site, service, [p for p in points if victim(p) == service], str(log)))
        verdict = await settle(site, load)
    fired, asked = Counter(log.read_text().split()), Counter(points)
    tell("\n".join(["", *(f"  {fired[point]:3}  {point}" for point in asked), str(verdict)]))
    assert fired == asked, "a point did not fire"
    assert verdict.clean, verdict


def victim(point: str) -> str:
    """The service that is killed there; any that consumes would do for the broker's."""
    return point.partition(".")[0].replace("broker", "sender")


async def killed_while_nothing_gets_out(site: Site, load: Load) -> None:
    """Kill all while the broker takes nothing: what they hold in memory alone is gone."""
    async with all_blocked(site, load):
        for service in SERVICES:
            site.signal(service, KILL)
            assert await site.ended(service) == -KILL


async def crashed(site: Site, service: str, points: Sequence[str], log: str) -> None:
    """Start a service that is killed at one point after the other, and at last for good."""
    for number, point in enumerate(points):
        await site.start(service, {"TRACEPOST_CRASH": f"{point}:{number % 3 + 1}", "TRACEPOST_CRASH_LOG": log})
        try:
            code = await site.ended(service, REACHED_WITHIN)
        except TimeoutError:
            site.signal(service, TERMINATE)  # the table will say that it never fired
            await site.ended(service)
            continue
        assert code == -KILL, f"{service} at {point} ended with exit code {code}"
    await site.start(service)


@on_the_site
async def test_sigterm_in_the_middle_of_work_drains_and_exits_0(site: Site, tell: Tell) -> None:
    async with loading(site, rate=20) as load:
        drained = await asyncio.gather(*(terminated(site, load, service) for service in SERVICES))
        verdict = await settle(site, load)
    tell(f"drained in {', '.join(f'{took:.1f}' for took in drained)} s; {verdict}")
    assert verdict.clean, verdict
    assert verdict.unknown == verdict.duplicated == 0


async def terminated(site: Site, load: Load, service: str) -> float:
    """Stop a service in the middle of work and start it again; answers the seconds that its drain took."""
    await eventually(partial(at_work, site, load, service))
    began = time.monotonic()
    site.signal(service, TERMINATE)
    assert await site.ended(service) == 0, service
    took = time.monotonic() - began
    await site.start(service)
    return took


IN_THE_MIDDLE = {
    "sender": ("sender", "SELECT count(*) FROM deliveries WHERE state IN ('leased', 'in_doubt')"),
    "status-store": ("status", "SELECT count(*) FROM messages WHERE message_id = ANY ($1::uuid[])"),
    "pixel": ("status", "SELECT count(*) FROM events WHERE type = 'opened' AND message_id = ANY ($1::uuid[])"),
    "bounce-ingest": (
        "status",
        "SELECT count(*) FROM events WHERE type = 'complained' AND message_id = ANY ($1::uuid[])",
    ),
}


async def at_work(site: Site, load: Load, service: str) -> bool:
    """Whether a service is seen to have work in hand, or just had and more is under way."""
    database, sql = IN_THE_MIDDLE[service]
    arguments = [list(load.entries)] if "$1" in sql else []
    [(count,)] = await site.fetch(database, sql, *arguments)
    return bool(count)
