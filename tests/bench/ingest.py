"""Returned mail from many sessions to confirmed events, by one process and by two, beside a bare aiosmtpd."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from local_stack.processes import free_port
from local_stack.stack import Servers
from tests.bench.harness import Bench, Ratio, Work, Wrong, run
from tests.bench.peers.aiosmtpd import bare
from tests.bouncing import DOMAIN, published
from tests.conftest import ROOT, new_database
from tests.faults.alone import alone
from tests.handing_in import Mail, crowd, some
from tracepost.tokens import Keyring

NAME = "ingest"
MAILS, WARM, CONNECTIONS = 3_000, 200, 50
FOLDER = ROOT / ".local" / "bench"
KEYRING = Keyring({1: bytes(32)})  # as `alone` has it


async def measure(servers: Servers, pids: Mapping[str, int]) -> None:
    """Run the bench on these servers."""
    mails = some(KEYRING, WARM + MAILS)
    bench = Bench(
        NAME,
        "mail",
        {
            "bare aiosmtpd": partial(taken_by_aiosmtpd, mails),
            "one process": partial(told, servers, mails, 1),
            "two processes": partial(told, servers, mails, 2),
        },
        [
            Ratio("one process", "bare aiosmtpd", reach=0.5),
            Ratio("two processes", "one process"),
        ],
    )
    await run(bench, servers, {"Python": os.getpid(), **pids})


@asynccontextmanager
async def taken_by_aiosmtpd(mails: Sequence[Mail], _: str) -> AsyncIterator[Work]:
    """The limit: nothing is done with a mail."""
    async with bare() as (_process, port):
        yield await _warmed(port, mails)


@asynccontextmanager
async def told(servers: Servers, mails: Sequence[Mail], workers: int, url: str) -> AsyncIterator[Work]:
    """Ours, whose every answer follows the confirm."""
    port = free_port()
    settings = {"smtp_port": str(port), "bounce_domain": DOMAIN, "workers": str(workers), "parsers": str(workers)}
    async with (
        new_database(servers) as database,
        alone("bounce-ingest", FOLDER, url, database, log_level="WARNING", **settings) as service,
    ):
        await service.start()
        await service.until_ready()
        yield await _warmed(port, mails)
    found: set[object] = set()
    while len(found) < len(mails):
        found |= {event.message_id for event in await published(url, 1)}
    if found != {mail.message_id for mail in mails}:
        raise Wrong("the events are not those of the mails")


async def _warmed(port: int, mails: Sequence[Mail]) -> Work:
    await crowd(port, mails[:WARM], CONNECTIONS, lambda _: None)

    async def work() -> int:
        taken: list[Mail] = []
        refused = await crowd(port, mails[WARM:], CONNECTIONS, taken.append)
        if refused:
            raise Wrong(f"{refused} were to be tried again")
        return len(taken)

    return work
