"""How much memory the sender takes while it waits for a mail server that never says a word."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from local_stack.stack import HOST, Servers
from tests.bench.raw_amqp import Raw
from tests.bench.sender import SEEN, frame, sample, seeing, sender, until
from tests.conftest import virtual_host

WAITING = (10_000, 100_000)
CHUNK = 5_000
REST_MB, WAITING_MB = 80, 250
LONGEST = 90.0


async def tell(servers: Servers) -> None:
    """Print what the sender takes at rest, and with ever more requests in its queue."""
    print("\nmemory of the sender", flush=True)  # noqa: T201 - to be read
    with socket.create_server((HOST, 0)) as silent:
        async with virtual_host(servers) as url:
            await seeing(url, "accepted")
            async with sender(servers.postgres_url, silent.getsockname()[1], url) as process:
                _say("at rest", process.pid, REST_MB)
                await asyncio.to_thread(_fill, url, process.pid)
                silent.close()  # else the sender's stop would wait for words


def _fill(url: str, pid: int) -> None:
    taken = 0
    with Raw(url) as broker, Raw(url) as events:
        accepted = events.consume(SEEN)
        for enough in WAITING:
            before, started = taken, time.monotonic()
            while taken < enough and time.monotonic() < started + LONGEST:
                taken += _more(broker, accepted)
            speed = (taken - before) / (time.monotonic() - started)
            _say(f"{taken:,} waiting, taken at {speed:,.0f} a second", pid, WAITING_MB)


def _more(broker: Raw, accepted: Iterator[bytes]) -> int:
    """Publish some requests, and wait until the sender has taken them."""
    broker.publish([frame(each) for each in sample(CHUNK)])
    for _ in until(accepted, CHUNK):
        pass
    return CHUNK


def _say(what: str, pid: int, most: int) -> None:
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    reached = "reached" if now <= most else "NOT REACHED"
    print(f"  {what}: {now:.0f} MB (at most so far {peak:.0f}), to reach: {most} ({reached})", flush=True)  # noqa: T201
