"""The pixel under wrk, on a core of its own: with the broker, without it, beside nginx and the naive design."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from shutil import rmtree
from statistics import median

import aiohttp
from uuid_utils.compat import uuid7

from local_stack.binaries import Missing
from local_stack.processes import Process, free_port, running, wait_for_port
from local_stack.stack import HOST, Servers
from pixel.records import decoded
from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong, run
from tests.bench.peers import nginx, wrk
from tests.bench.peers.wrk import Seen
from tests.bench.publish import QUEUE, ids
from tests.bench.raw_amqp import Raw
from tests.conftest import ROOT, eventually
from tracepost import tokens
from tracepost.tokens import Keyring

NAMES = ("pixel-keep-alive", "pixel-one-each")
FOLDER, PEERS = ROOT / ".local" / "bench", ROOT / ".local" / "peers"
KEYS = "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
CONNECTIONS, SECONDS = 256, 3
TOKENS = 40_000  # each may be opened ten times a minute
IDLE = 10_000
# The server has the first core, wrk the other; the broker goes where there is room.
SERVER, CLIENT = ("taskset", "-c", "0"), ("taskset", "-c", "1")
AGENTS = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0",
    "Mozilla/5.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
)


@dataclass
class Stand:
    """What all turns share, and the times that wrk has told of each contender."""

    wrk: Path
    nginx: Path
    requests: Path
    keep: bool
    pids: dict[str, int]
    answered: int = 0  # in the last turn
    seen: defaultdict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))

    async def load(self, name: str, port: int) -> int:
        """Ask for so long; answers the number of answers."""
        seen = await wrk.load(
            self.wrk,
            f"http://{HOST}:{port}",
            self.requests,
            connections=CONNECTIONS,
            seconds=SECONDS,
            keep=self.keep,
            before=CLIENT,
        )
        if seen.refused or seen.failed:
            raise Wrong(f"{seen.refused} of {seen.requests} answers were not 200, {seen.failed} connections failed")
        self.seen[name].append(seen)
        self.answered = seen.requests
        return seen.requests

    def check(self, found: list[str]) -> None:
        """There is an event for every answer of the last turn; more only for those that came too late for wrk."""
        if len(set(found)) != len(found) or not 0 <= len(found) - self.answered <= 2 * CONNECTIONS:
            raise Wrong(f"{self.answered} answers, {len(found)} events, {len(set(found))} of them different")


async def measure(servers: Servers, broker_pid: int, chosen: str) -> None:
    """Run one of the benches, then tell p50, p99 and, once, the memory with many connections."""
    try:
        stand = Stand(wrk.program(PEERS / "wrk"), nginx.program(PEERS / "nginx"), _requests(), chosen == NAMES[0], {})
    except Missing as error:
        print(f"{chosen}: not measured: {error}", flush=True)  # noqa: T201 - to be read
        return
    stand.pids |= {"server": 0, "RabbitMQ": broker_pid}
    contenders: dict[str, Contender] = {
        "nginx empty_gif (limit)": partial(_nginx, stand),
        "ours": partial(_ours, stand),
        "ours, broker away": partial(_away, stand),
        "naive": partial(_naive, stand),
    }
    await run(Bench(chosen, "request", contenders, _ratios(stand.keep)), servers, stand.pids)
    for name, rounds in stand.seen.items():
        p50, p99 = (median(getattr(each, field) for each in rounds) * 1e3 for field in ("p50", "p99"))
        print(f"  {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)  # noqa: T201 - to be read
    if stand.keep:
        print(await _memory(), flush=True)  # noqa: T201 - to be read


def _ratios(keep: bool) -> list[Ratio]:
    nginx_reach, naive_reach, usual = (0.15, 4, 0.037) if keep else (0.30, 2.5, 0.105)
    return [
        Ratio("ours", "nginx empty_gif (limit)", reach=nginx_reach),
        Ratio("ours", "naive", reach=naive_reach),
        Ratio("ours, broker away", "ours", reach=0.67),
        Ratio("naive", "nginx empty_gif (limit)", usual=usual),
    ]


def _requests() -> Path:
    keyring, random = Keyring({1: bytes(32)}), Random(1)
    paths = (f"/o/{tokens.to_url(keyring.pixel(uuid7(), 0))}.gif" for _ in range(TOKENS))
    file = FOLDER / "pixel-requests"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{path} {random.choice(AGENTS)}\n" for path in paths))
    return file


@asynccontextmanager
async def _nginx(stand: Stand, _: str) -> AsyncIterator[Work]:
    async with nginx.serving(stand.nginx, FOLDER / "nginx", before=SERVER) as (port, process):
        stand.pids["server"] = process.pid
        yield partial(stand.load, "nginx empty_gif (limit)", port)


@asynccontextmanager
async def _ours(stand: Stand, url: str) -> AsyncIterator[Work]:
    async with _pixel(url) as (port, admin, process):
        await eventually(partial(_ready, admin))
        stand.pids["server"] = process.pid
        yield partial(stand.load, "ours", port)
    stand.check(await asyncio.to_thread(_published, url))


@asynccontextmanager
async def _away(stand: Stand, _: str) -> AsyncIterator[Work]:
    async with _pixel(f"amqp://guest:guest@{HOST}:{free_port()}/") as (port, _admin, process):
        stand.pids["server"] = process.pid
        yield partial(stand.load, "ours, broker away", port)
    files = sorted(_spool().glob("*.spool"))
    stand.check([each for file in files for body in decoded(file.read_bytes()).bodies for each in ids(body)])


@asynccontextmanager
async def _naive(stand: Stand, url: str) -> AsyncIterator[Work]:
    port = free_port()
    argv = [*SERVER, sys.executable, "-m", "tests.bench.naive_pixel", str(port)]
    env = os.environ | {"AMQP_URL": url}
    async with running("naive", argv, env=env, log=FOLDER / "naive.log", cwd=ROOT) as process:
        await wait_for_port(HOST, port, process, timeout=20)
        stand.pids["server"] = process.pid
        yield partial(stand.load, "naive", port)
    stand.check(await asyncio.to_thread(_published, url))


def _published(url: str) -> list[str]:
    with Raw(url) as raw:
        return [each for body in raw.drain(QUEUE) for each in ids(body)]


def _spool() -> Path:
    return FOLDER / "pixel-spool"


@asynccontextmanager
async def _pixel(url: str) -> AsyncIterator[tuple[int, int, Process]]:
    """One process of ours with an empty spool: its port, its admin port."""
    port, admin = free_port(), free_port()
    rmtree(_spool(), ignore_errors=True)
    told = {"AMQP_URL": url, "TOKEN_KEYS": KEYS, "LOG_LEVEL": "WARNING"}
    told |= {"PIXEL_PORT": str(port), "PIXEL_ADMIN_PORT": str(admin), "PIXEL_SPOOL": str(_spool())}
    env = os.environ | {f"TRACEPOST_{name}": value for name, value in told.items()}
    argv = [*SERVER, sys.executable, "-m", "pixel"]
    async with running("pixel", argv, env=env, log=FOLDER / "pixel.log") as process:
        await wait_for_port(HOST, port, process, timeout=20)
        yield port, admin, process


async def _ready(port: int) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/readyz") as response:
            return response.status == 200
    return False


async def _memory() -> str:
    async with _pixel(f"amqp://guest:guest@{HOST}:{free_port()}/") as (port, _, process):
        alone = _resident(process.pid)
        connections = [await asyncio.to_thread(socket.create_connection, (HOST, port)) for _ in range(IDLE)]
        many = _resident(process.pid)
        for each in connections:
            each.close()
    return f"  memory: {alone:.0f} MB at rest, {many:.0f} MB with {IDLE:,} connections"


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
