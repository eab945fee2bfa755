"""Returned mail from many sessions to confirmed events, beside a bare aiosmtpd, and what further processes bring.

At full speed two cores cannot show that: the load, RabbitMQ and one process fill them. So each process with its parser
is also held to the same small share of a core, as if it had a slow one to itself. Then nothing else is short, and what
two and four take beside one tells whether they are in one another's way.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from local_stack.processes import free_port
from local_stack.stack import Servers
from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong, run
from tests.bench.holding import awake, holding
from tests.bench.peers.aiosmtpd import bare
from tests.bouncing import DOMAIN, published
from tests.conftest import ROOT, new_database
from tests.faults.alone import Alone, alone
from tests.handing_in import Mail, crowd, some
from tracepost.tokens import Keyring

NAME, HELD = "ingest", "ingest, each process held to a share of a core"
MAILS, HELD_MAILS, WARM = 2_000, 600, 200  # of each process
CONNECTIONS = 100  # of each process
SHARE = 0.15  # of a core
FOLDER = ROOT / ".local" / "bench"
KEYRING = Keyring({1: bytes(32)})  # as `alone` has it
COUNTS = {1: "one", 2: "two", 4: "four"}


@dataclass
class Stand:
    """What all turns share, the processes of the one that runs, and what part of their share those held have used."""

    servers: Servers
    pids: dict[str, int | Sequence[int]]
    mails: Sequence[Mail]
    share: float | None = None
    units: Sequence[Sequence[int]] = ()  # each process, with its parser
    used: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def name(self, units: Sequence[Sequence[int]], parent: Sequence[int] = ()) -> None:
        """Tell the processes apart."""
        workers, parsers = [unit[0] for unit in units], [pid for unit in units for pid in unit[1:]]
        self.units = units
        self.pids |= {"parent": parent, "processes": workers, "parsers": parsers}


async def measure(servers: Servers, pids: Mapping[str, int]) -> None:
    """Run both benches on these servers."""
    mails, pids = some(KEYRING, max(2 * (WARM + MAILS), 4 * (WARM + HELD_MAILS))), {"load": os.getpid(), **pids}
    free = Stand(servers, {**pids}, mails)
    free.name([])
    ratios = [Ratio(_ours(1), _bare(1), reach=0.5), Ratio(_ours(2), _ours(1)), Ratio(_bare(2), _bare(1))]
    await run(Bench(NAME, "mail", _contenders(free, 1, 2), ratios), servers, free.pids)
    held = Stand(servers, {**pids}, mails, SHARE)
    held.name([])
    ratios = [Ratio(_ours(count), _bare(count), reach=0.5) for count in COUNTS]
    for count in (2, 4):
        ratios += [Ratio(_ours(count), _ours(1), reach=0.9 * count), Ratio(_bare(count), _bare(1))]
    async with awake() as fillers:
        held.pids["fillers"] = fillers
        await run(Bench(HELD, "mail", _contenders(held, *COUNTS), ratios), servers, held.pids)
    for name, used in held.used.items():
        void = "" if 0.9 < median(used) < 1.1 else ": something else was in its way, THIS RUN IS VOID"
        print(f"  {name}: {median(used):.0%} of {SHARE:.0%} of a core used{void}", flush=True)  # noqa: T201 - to be read


def _contenders(stand: Stand, *counts: int) -> dict[str, Contender]:
    peers: dict[str, Contender] = {_bare(count): partial(taken_by_aiosmtpd, stand, count) for count in counts}
    return peers | {_ours(count): partial(told, stand, count) for count in counts}


def _bare(count: int) -> str:
    return f"{COUNTS[count]} bare aiosmtpd"


def _ours(count: int) -> str:
    return f"{COUNTS[count]} of ours"


@asynccontextmanager
async def taken_by_aiosmtpd(stand: Stand, count: int, _: str) -> AsyncIterator[Work]:
    """The limit: nothing is done with a mail."""
    async with bare(count) as (processes, port):
        stand.name([[each.pid] for each in processes])
        yield await _warmed(stand, _bare(count), port, *_parts(stand, count))


@asynccontextmanager
async def told(stand: Stand, count: int, url: str) -> AsyncIterator[Work]:
    """Ours, whose every answer follows the confirm."""
    port = free_port()
    settings = {"smtp_port": str(port), "bounce_domain": DOMAIN, "workers": str(count), "parsers": str(count)}
    warm, mails = _parts(stand, count)
    async with (
        new_database(stand.servers) as database,
        alone("bounce-ingest", FOLDER, url, database, log_level="WARNING", **settings) as service,
    ):
        await service.start()
        await service.until_ready()
        _tell_apart(stand, service, count)
        yield await _warmed(stand, _ours(count), port, warm, mails)
    found: set[object] = set()
    while len(found) < len(warm) + len(mails):
        found |= {event.message_id for event in await published(url, 1)}
    if found != {mail.message_id for mail in (*warm, *mails)}:
        raise Wrong("the events are not those of the mails")


def _parts(stand: Stand, count: int) -> tuple[Sequence[Mail], Sequence[Mail]]:
    """What so many processes are warmed with, and what is measured."""
    warm, measured = count * WARM, count * (HELD_MAILS if stand.share else MAILS)
    return stand.mails[:warm], stand.mails[warm : warm + measured]


def _tell_apart(stand: Stand, service: Alone, count: int) -> None:
    first = service.processes[0].pid
    parent = [first] if count > 1 else []
    units = [[worker, *_children(worker)] for worker in (_children(first) if parent else [first])]
    if len(units) != count or any(len(unit) != 2 for unit in units):
        raise Wrong(f"{count} processes with a parser each were asked for, there are {units}")
    stand.name(units, parent)


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def _warmed(stand: Stand, name: str, port: int, warm: Sequence[Mail], mails: Sequence[Mail]) -> Work:
    connections = CONNECTIONS * len(stand.units)
    await crowd(port, warm, connections, lambda _: None)

    async def work() -> int:
        taken: list[Mail] = []
        handing_in = crowd(port, mails, connections, taken.append)
        if refused := await (_held(stand, name, handing_in) if stand.share else handing_in):
            raise Wrong(f"{refused} were to be tried again")
        return len(taken)

    return work


async def _held(stand: Stand, name: str, handing_in: Awaitable[int]) -> int:
    """The same, while no process and its parser have more than their share of a core."""
    async with holding(stand.units, SHARE) as budgets:
        refused = await handing_in
        stand.used[name].append(median(each.used() for each in budgets))
    return refused
