"""How long people wait for the pixel's image while its broker freezes, dies, stays away and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from shutil import rmtree
from signal import SIGCONT, SIGSTOP
from statistics import quantiles
from uuid import UUID

import aiohttp
from uuid_utils.compat import uuid7

from local_stack.rabbitmq import RabbitNode
from local_stack.stack import Servers
from tests.bench.harness import Wrong
from tests.bench.publish import QUEUE
from tests.bench.raw_amqp import Raw
from tests.conftest import KEYRING, ROOT, eventually, virtual_host
from tests.pixels import Running, look, path, started

NAME = "pixel-outage"
FOLDER = ROOT / ".local" / "bench-outage"
KEYS = "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
RATE = 400  # opens a second, come what may: what waits holds up nobody behind it
USUAL, FROZEN = 10.0, 20.0
AWAY = float(os.environ.get("OUTAGE_SECONDS", "60"))
REACH = 0.3


@dataclass
class People:
    """Who opens mails at a steady rate; what of it was answered, and the waits of each phase."""

    session: aiohttp.ClientSession
    url: str
    phase: str = ""
    answered: list[UUID] = field(default_factory=list)
    waits: dict[str, list[float]] = field(default_factory=dict)

    async def come(self) -> None:
        """For ever."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(1 << 62):
                await asyncio.sleep(began + number / RATE - time.monotonic())
                group.create_task(self._open(self.waits.setdefault(self.phase, [])))

    async def _open(self, waits: list[float]) -> None:
        message_id = uuid7()
        began = time.monotonic()
        await look(self.session, self.url + path(KEYRING, message_id))
        waits.append(time.monotonic() - began)
        self.answered.append(message_id)


async def measure() -> None:
    """Print what was waited in each phase; Wrong if an open that was answered is not published, or twice."""
    rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    node = RabbitNode(FOLDER, print)
    await node.start()
    try:
        async with virtual_host(Servers(node.broker, "")) as url:
            async with started(url, KEYS, FOLDER) as pixel, _people(pixel) as people:
                await eventually(pixel.ready)
                await _through(node, pixel, people)
            _check(people, url)
    finally:
        await node.stop()
    print("\n".join(_told(people.waits)), flush=True)  # noqa: T201 - it is what was asked for


@asynccontextmanager
async def _people(pixel: Running) -> AsyncIterator[People]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield People(session, pixel.url)


async def _through(node: RabbitNode, pixel: Running, people: People) -> None:
    async with asyncio.TaskGroup() as group:
        people.phase = "with the broker"
        coming = group.create_task(people.come())
        await asyncio.sleep(USUAL)
        people.phase = f"frozen for {FROZEN:.0f} s"
        os.kill(node.process.pid, SIGSTOP)
        await asyncio.sleep(FROZEN)
        os.kill(node.process.pid, SIGCONT)
        people.phase = f"killed, away for {AWAY:.0f} s"
        await node.kill()
        await asyncio.sleep(AWAY)
        people.phase = "back, the spool drained"
        await node.start()
        await eventually(partial(_drained, pixel), deadline=120)
        coming.cancel()


async def _drained(pixel: Running) -> bool:
    return await pixel.ready() and await pixel.counted("tracepost_pixel_spool_bytes") == 0


def _check(people: People, url: str) -> None:
    with Raw(url) as raw:
        found = {_message(each) for body in raw.drain(QUEUE) for each in _elements(body)}
    if missing := set(map(str, people.answered)) - found:
        raise Wrong(f"{NAME}: {len(missing)} of {len(people.answered)} opens that were answered were not published")


def _elements(body: bytes) -> Sequence[dict[str, str]]:
    read = json.loads(body)
    return read if isinstance(read, list) else [read]


def _message(element: Mapping[str, str]) -> str:
    return element["subject"].partition("/")[0]


def _told(waits: Mapping[str, list[float]]) -> list[str]:
    lines = [f"\n{NAME}: {RATE} opens a second, each answered at last published"]
    for phase, seconds in waits.items():
        percentiles = quantiles(seconds, n=100)
        p50, p99, most = percentiles[49] * 1e3, percentiles[98] * 1e3, max(seconds) * 1e3
        reached = "reached" if percentiles[98] < REACH else "NOT REACHED"
        told = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {most:.0f} ms"
        lines.append(f"  {phase}: {len(seconds):,} opens, {told}; p99 to reach: {REACH * 1e3:.0f} ms ({reached})")
    return lines
