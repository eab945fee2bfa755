"""Holds processes to a small share of a core, as if each had a slow one to itself: so that two cores can show many."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from signal import SIGCONT, SIGSTOP, Signals

from local_stack.processes import running
from tests.conftest import ROOT
from tracepost.runner import background

LOOK_EVERY = 0.02  # seconds
FOLDER = ROOT / ".local" / "bench"


@asynccontextmanager
async def holding(units: Sequence[Sequence[int]], share: float) -> AsyncIterator[Sequence[Budget]]:
    """While the block runs, the processes of each unit together have no more than this share of a core.

    They are stopped and continued, for which nobody needs the right that a control group needs.
    """
    budgets = [Budget(unit, share) for unit in units]
    try:
        async with background(_keep(budgets)):
            yield budgets
    finally:
        for each in budgets:
            each.signal(SIGCONT)


async def _keep(budgets: Sequence[Budget]) -> None:
    while True:
        for each in budgets:
            each.signal(SIGSTOP if each.used() > 1 else SIGCONT)
        await asyncio.sleep(LOOK_EVERY)


class Budget:
    """A share of a core from now on; who has had too much waits for as long as it takes, so it is exact in the end."""

    def __init__(self, pids: Sequence[int], share: float) -> None:
        self._pids, self._share = pids, share
        self._began, self._before = time.monotonic(), self._spent()

    def used(self) -> float:
        """What part of it."""
        return (self._spent() - self._before) / (self._share * (time.monotonic() - self._began))

    def signal(self, number: Signals) -> None:
        """Stop the processes, or let them go on."""
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _spent(self) -> float:
        """Seconds, by the processes' own clocks: see clock_getcpuclockid(3)."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._pids)


@asynccontextmanager
async def awake() -> AsyncIterator[Sequence[int]]:
    """Keep every core busy with what gives way to all else; waking one costs those most who do least."""
    argv = ["chrt", "--idle", "0", sys.executable, "-c", "while True: pass"]
    async with AsyncExitStack() as started:
        fillers = [
            await started.enter_async_context(running("filler", argv, env={}, log=FOLDER / f"filler.{core}.log"))
            for core in range(os.cpu_count() or 1)
        ]
        yield [each.pid for each in fillers]
