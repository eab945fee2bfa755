"""Runs the contenders of a bench in turns, checks what each has done, and prints medians, spread, CPU and ratios."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from local_stack.stack import Servers
from tests.conftest import virtual_host

ROUNDS = 5
LONGEST_TURN = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Wrong(Exception):
    """The result is not what it should be, so its figure means nothing."""


# What is measured; answers how many items it has done.
Work = Callable[[], Awaitable[int]]
# What CPU is told of: a process and its children, or some of them together.
Pids = Mapping[str, int | Sequence[int]]
# Prepares, gives the work to be measured, and afterwards raises Wrong if its result is wrong. Gets the URL of a virtual
# host of its own with the topology in it, or nothing if it needs no servers.
Contender = Callable[[str], AbstractAsyncContextManager[Work]]


@dataclass(frozen=True)
class Ratio:
    """Of two contenders' items per second: at least `reach`; or, of a peer to a limit, about `usual` if all is well."""

    over: str
    under: str
    reach: float | None = None
    usual: float | None = None

    def told(self, rates: Mapping[str, float]) -> str:
        """The ratio as a line of text."""
        value = rates[self.over] / rates[self.under]
        line = f"  {self.over} / {self.under}: {value:.2f}"
        if self.reach:
            line += f", to reach: {self.reach:g} ({'reached' if value >= self.reach else 'NOT REACHED'})"
        if self.usual and not 0.5 <= value / self.usual <= 2:
            line += f", usually {self.usual:g}: THIS RUN IS VOID"
        return line


@dataclass(frozen=True)
class Bench:
    """Contenders by name: ours, peers and limits."""

    name: str
    item: str
    contenders: Mapping[str, Contender]
    ratios: Sequence[Ratio]


@dataclass(frozen=True)
class Round:
    """What one turn of a contender took: seconds, and CPU seconds by process."""

    items: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.seconds


async def run(bench: Bench, servers: Servers | None, pids: Pids, rounds: int = ROUNDS) -> None:
    """Measure all and print; Wrong names the contender whose result was wrong."""
    done: dict[str, list[Round]] = {name: [] for name in bench.contenders}
    for _ in range(rounds):
        for name, contender in bench.contenders.items():
            try:
                done[name].append(await _turn(contender, servers, pids))
            except Wrong as error:
                raise Wrong(f"{bench.name}: {name}: {error}") from error
    print("\n".join(_report(bench, done)), flush=True)  # noqa: T201 - it is what was asked for


async def _turn(contender: Contender, servers: Servers | None, pids: Pids) -> Round:
    async with virtual_host(servers) if servers else nullcontext("") as url, contender(url) as work:
        gc.collect()
        gc.freeze()  # what was prepared is not looked through again and again while the work runs
        before, started = _cpu(pids), time.monotonic()
        try:
            async with asyncio.timeout(LONGEST_TURN):
                items = await work()
        except TimeoutError:
            raise Wrong(f"was not done after {LONGEST_TURN:g} s") from None
        seconds, after = time.monotonic() - started, _cpu(pids)
        gc.unfreeze()
    return Round(items, seconds, {name: after[name] - before[name] for name in pids})


def _report(bench: Bench, done: Mapping[str, Sequence[Round]]) -> list[str]:
    rates = {name: median(each.rate for each in rounds) for name, rounds in done.items()}
    width = max(map(len, rates))
    lines = [f"\n{bench.name}: {bench.item}s per second, {len(next(iter(done.values())))} rounds"]
    for name, rounds in done.items():
        spread = f"{min(each.rate for each in rounds):,.0f}..{max(each.rate for each in rounds):,.0f}"
        cpu = [
            f"{process} {median(each.cpu[process] / each.items for each in rounds) * 1e6:,.1f}"
            for process in rounds[0].cpu
        ]
        lines.append(f"  {name:{width}} {rates[name]:>10,.0f}  ({spread})  CPU µs per {bench.item}: {', '.join(cpu)}")
    return lines + [ratio.told(rates) for ratio in bench.ratios]


def _cpu(pids: Pids) -> dict[str, float]:
    groups = {name: [of] if isinstance(of, int) else of for name, of in pids.items()}
    named = {pid for group in groups.values() for pid in group}
    return {name: sum(_cpu_seconds(pid, named - {pid}) for pid in group) for name, group in groups.items()}


def _cpu_seconds(pid: int, without: AbstractSet[int]) -> float:
    """Of a process and its children, those that have ended among them, but not of those that count for themselves."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):  # it ended a moment ago
        return 0
    own = sum(map(int, fields[11:15])) / TICKS  # utime, stime, cutime, cstime: see proc(5)
    return own + sum(_cpu_seconds(child, without) for child in children if child not in without)
