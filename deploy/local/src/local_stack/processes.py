"""Child processes with a log each, which end when we do, however we end."""

import asyncio
import ctypes
import fcntl
import itertools
import os
import pwd
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TAIL_BYTES = 64 * 1024


class Failed(Exception):
    """A process did not do what was asked of it; the text ends with the last lines of its log."""


@dataclass(frozen=True)
class Process:
    name: str
    log: Path
    child: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.child.pid

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative: the signal that ended it."""
        return await self.child.wait()

    def tail(self, lines: int = 15) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def failure(self, what: str) -> Failed:
        return Failed(f"{self.name} {what}. The last lines of {self.log}:\n{self.tail()}")

    async def stop(self, stop_signal: Signals, timeout: float) -> None:
        if self.child.returncode is not None:
            return
        try:
            self._signal(stop_signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), timeout)
        finally:
            self._signal(SIGKILL)
        await self.wait()

    def _signal(self, signal: Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal)


@asynccontextmanager
async def running(
    name: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
    stop_signal: Signals = SIGTERM,
    stop_timeout: float = 15.0,
    user: int | None = None,
    cwd: Path | None = None,
) -> AsyncIterator[Process]:
    """A child that gets `stop_signal` at the end of the block, and when the thread that started it dies."""
    with _fresh(log) as output:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal is for us, who stop the children in order
            preexec_fn=_ending_with_us(stop_signal),
            user=user,
            group=None if user is None else pwd.getpwuid(user).pw_gid,
            extra_groups=None if user is None else [],
        )
    process = Process(name, log, child)
    try:
        yield process
    finally:
        await process.stop(stop_signal, stop_timeout)


class Server(ABC):
    """A server that can be stopped and started again where it was."""

    kill_signal = SIGKILL
    process: Process

    def __init__(self) -> None:
        self._down = AsyncExitStack()

    @abstractmethod
    def up(self) -> AbstractAsyncContextManager[Process]:
        """The server, ready for its clients as long as the block lasts."""

    async def start(self) -> None:
        async with AsyncExitStack() as stack:
            self.process = await stack.enter_async_context(self.up())
            self._down = stack.pop_all()

    async def stop(self) -> None:
        await self._down.aclose()

    async def kill(self) -> None:
        """End it as a crash would."""
        await self.process.stop(self.kill_signal, timeout=10)
        await self.stop()


async def wait_until(ready: Callable[[], Awaitable[bool]], process: Process, timeout: float) -> None:
    """Raises Failed when the process ends first, or after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while not await ready():
                if process.child.returncode is not None:
                    raise process.failure(f"ended with exit code {process.child.returncode} while it started")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise process.failure(f"was not ready after {timeout:g} s") from None


async def wait_for_port(host: str, port: int, process: Process, timeout: float) -> None:
    await wait_until(partial(_answers, host, port), process, timeout)


def stop_stale(pid_file: Path, argument: str, stop_signal: Signals) -> None:
    """Stop the process that `pid_file` names, if `argument` is on its command line: numbers are used again."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(pid_file.read_text().partition("\n")[0])
        for signal, patience in ((stop_signal, 15.0), (SIGKILL, 5.0)):
            deadline = time.monotonic() + patience
            if _has_argument(pid, argument):
                os.kill(pid, signal)
            while _has_argument(pid, argument) and time.monotonic() < deadline:
                time.sleep(0.02)
    pid_file.unlink(missing_ok=True)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Keep other stacks away for as long as we live: even a kill releases this lock, and no child inherits it."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"Another stack runs in {lock.parent}: stop it, or use another folder") from None
        yield


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that this function has not returned lately.

    It is below the range for outgoing connections. In that range, a client that keeps trying to reach a stopped server
    may be given that very port as its own; it is then connected to itself, and the server cannot come back.
    """
    while True:
        port = next(_candidates)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _all_ports() -> Iterator[int]:
    ports = range(26_000, 32_768)
    first = os.getpid() * 37 % len(ports)  # so that processes which start together do not try the same ones
    return itertools.cycle([*ports[first:], *ports[:first]])


_candidates = _all_ports()


def _fresh(log: Path) -> BinaryIO:
    """Empty; the log of the start before is kept beside it."""
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("wb")


def _ending_with_us(signal: Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    # Loaded before the fork: in the child another thread's lock might be held for ever.
    prctl, us = ctypes.CDLL(None).prctl, os.getpid()

    def before_exec() -> None:
        # The change of user, which would undo this, is done; exec keeps it.
        prctl(_PR_SET_PDEATHSIG, signal)
        if os.getppid() != us:
            os._exit(1)

    return before_exec


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def _has_argument(pid: int, argument: str) -> bool:
    """False for a process that has ended."""
    try:
        return argument in os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except OSError:
        return False
