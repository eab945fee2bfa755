"""Several processes on the same ports: starts them, replaces those that die, adds up what they count."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import NamedTuple

import structlog
from pydantic_core import from_json, to_json

from tracepost import metrics
from tracepost.http import Check
from tracepost.runner import Checks, background
from tracepost.sums import Sample, Sums, in_place_of_our_own, snapshot

log = structlog.get_logger()

REPORT_EVERY = 1.0
STANDS_STILL = 30.0  # seconds without a report
MOST_REPORT_BYTES = 4 * 1024 * 1024
PAUSE = 1.0  # before one that died is started again: it may die of the same at once
BACKLOG = 4_096


class Crew(NamedTuple):
    """So many processes of a module, which listen on all of the ports.

    `environment` is that of each, by its number: it is told the file numbers of its sockets, in the order of the ports,
    and of its line to us.
    """

    module: str
    size: int
    ports: Sequence[tuple[str, int]]
    environment: Callable[[int, Sequence[int], int], Mapping[str, str]]


def listening(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens; `shared`: other sockets may listen there too, and the system deals clients out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taking = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    taking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which its clients' sockets inherit
    return taking


class _Worker:
    """The place of a worker: its listening sockets stay open while it is replaced, so that no client is refused."""

    def __init__(self, number: int, listening: Sequence[socket.socket], crew: Crew, sums: Sums) -> None:
        self._number, self._listening, self._crew, self._sums = number, listening, crew, sums
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
            files, line = [each.fileno() for each in self._listening], theirs.fileno()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._crew.module),
                env=self._crew.environment(self._number, files, line),
                pass_fds=(*files, line),
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
async def supervising(crew: Crew, checks: Checks) -> AsyncIterator[None]:
    """Run the workers until the block ends."""
    with ExitStack() as sockets, in_place_of_our_own() as sums:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number in range(crew.size):
                taking = [sockets.enter_context(listening(*each, shared=True)) for each in crew.ports]
                worker = _Worker(number, taking, crew, sums)
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
