"""Several processes on one port: starts them, replaces those that die, adds up what they count."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

import structlog
from pydantic_core import from_json, to_json

from pixel.http1 import listening
from pixel.settings import PixelSettings
from pixel.sums import Sample, Sums, in_place_of_our_own, snapshot
from tracepost import metrics
from tracepost.http import Check
from tracepost.runner import Checks, background

log = structlog.get_logger()

REPORT_EVERY = 1.0
STANDS_STILL = 30.0  # seconds without a report
MOST_REPORT_BYTES = 4 * 1024 * 1024
PAUSE = 1.0  # before one that died is started again: it may die of the same at once


class _Worker:
    """The place of a worker: its listening socket stays open while it is replaced, so that no client is refused."""

    def __init__(self, number: int, listening: socket.socket, settings: PixelSettings, sums: Sums) -> None:
        self._number, self._listening, self._settings, self._sums = number, listening, settings, sums
        self._fault: str | None = "has not started yet"

    async def check(self) -> str | None:
        """A readiness check."""
        return self._fault

    async def supervise(self) -> None:
        """Keep one running until we are cancelled; then let it finish its work."""
        while True:
            try:
                await self._run()
            except OSError as error:
                log.error("worker cannot be started", worker=self._number, reason=str(error))
            self._fault = "died; another is being started"
            metrics.WORKERS_REPLACED.inc()
            await asyncio.sleep(PAUSE)

    async def _run(self) -> None:
        """From its start to its end; on being cancelled we let it finish its work."""
        ours, theirs = socket.socketpair()
        with theirs:
            files = self._listening.fileno(), theirs.fileno()
            environment = self._settings.of_worker(*files)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pixel"), env=environment, pass_fds=files
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=MOST_REPORT_BYTES)
        try:
            await self._listen(reader, process.pid)
            with suppress(ProcessLookupError):
                process.kill()  # whether it is dead or stands still
        except asyncio.CancelledError:
            writer.write_eof()  # no signal: it may have got one already, and the second one kills
            raise
        finally:
            code = await process.wait()
            writer.close()
            self._sums.gone(process.pid)
            log.info("worker ended", worker=self._number, pid=process.pid, exit_code=code)

    async def _listen(self, reader: asyncio.StreamReader, pid: int) -> None:
        """Take its reports until it ends or stands still."""
        while True:
            try:
                async with asyncio.timeout(STANDS_STILL):
                    report = await reader.readline()
            except TimeoutError:
                log.error("worker stands still", worker=self._number, pid=pid, seconds=STANDS_STILL)
                return
            except (ConnectionError, ValueError):  # the latter: no end of a line
                return
            if not report.endswith(b"\n"):  # it died, perhaps over its last words
                return
            self._take(pid, **from_json(report))

    def _take(self, pid: int, checks: dict[str, str | None], samples: list[Sample]) -> None:
        self._sums.tell(pid, samples)
        faults = [f"{name}: {fault}" for name, fault in checks.items() if fault]
        self._fault = "; ".join(faults) or (None if checks else "starts")


@asynccontextmanager
async def supervising(settings: PixelSettings, checks: Checks) -> AsyncIterator[None]:
    """Run the workers until the block ends."""
    with ExitStack() as sockets, in_place_of_our_own() as sums:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number in range(settings.workers):
                taking = sockets.enter_context(listening(settings.host, settings.port, shared=True))
                worker = _Worker(number, taking, settings, sums)
                checks[f"worker {number}"] = worker.check
                tasks.append(group.create_task(worker.supervise()))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


@asynccontextmanager
async def reporting(line: int, checks: Checks) -> AsyncIterator[None]:
    """Of a worker: tell the parent how it is, every second, and stop when the parent says so or is gone."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=line))

    async def report() -> None:
        while True:
            with suppress(ConnectionError):
                writer.write(await _report(checks))
                await writer.drain()
            await asyncio.sleep(REPORT_EVERY)

    async def follow() -> None:
        await reader.read()
        if "draining" not in checks:
            os.kill(os.getpid(), signal.SIGTERM)

    async with background(follow()), background(report()):
        yield
    with suppress(OSError):
        writer.write(await _report(checks))
        await writer.drain()
    writer.close()


async def _report(checks: dict[str, Check]) -> bytes:
    faults = {name: await check() for name, check in checks.items()}
    return to_json({"checks": faults, "samples": snapshot()}) + b"\n"
