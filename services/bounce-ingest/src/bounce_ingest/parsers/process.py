"""One parser: a process to which batches of mails are given, with limits on time and memory."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from os import pathsep
from typing import Any, Generic, TypeVar

from bounce_ingest.parsers import worker
from bounce_ingest.parsers.values import Breach, Limits

START_SECONDS = 30.0

Answer = TypeVar("Answer")


class NotStarted(Exception):
    """The process cannot be had; the text says why."""


class Broken(Exception):
    """The process is of no more use."""

    def __init__(self, reason: Breach) -> None:
        super().__init__(reason)
        self.reason = reason


class Parser(Generic[Answer]):
    """See `started`."""

    def __init__(self, child: asyncio.subprocess.Process, seconds: float) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._child, self._in, self._out, self._seconds = child, child.stdin, child.stdout, seconds

    @property
    def pid(self) -> int:
        """Its number."""
        return self._child.pid

    @property
    def has_ended(self) -> bool:
        """Whether somebody has ended it."""
        return self._child.returncode is not None

    async def start(self, understand: Callable[[bytes], Answer], memory: int) -> None:
        """Return when it is ready; NotStarted."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ask((understand, memory))
        except TimeoutError:
            raise NotStarted(f"it was not ready after {START_SECONDS:g} s") from None
        except (EOFError, ConnectionError):
            raise NotStarted(f"it ended with exit code {await self._child.wait()} while it started") from None

    async def parse(self, mails: Sequence[bytes]) -> Sequence[Answer]:
        """An answer for each; Broken."""
        try:
            async with asyncio.timeout(self._seconds):
                try:
                    answers: Sequence[Answer] = await self._ask(mails)
                    return answers
                except (EOFError, ConnectionError):
                    code = await self._child.wait()
        except TimeoutError:
            raise Broken("timed_out") from None
        raise Broken("too_much_memory" if code == worker.TOO_MUCH_MEMORY else "died")

    async def _ask(self, question: object) -> Any:
        self._in.write(pickle.dumps(question, pickle.HIGHEST_PROTOCOL))
        await self._in.drain()
        size = int.from_bytes(await self._out.readexactly(8))
        return pickle.loads(await self._out.readexactly(size))  # noqa: S301 - our own process writes there


@asynccontextmanager
async def started(
    understand: Callable[[bytes], Answer], limits: Limits, ended: Callable[[], None]
) -> AsyncIterator[Parser[Answer]]:
    """A parser that is ready, whose end is told; it ends with the block. NotStarted if it cannot be had."""
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", worker.__name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": pathsep.join(sys.path)},  # and none of our secrets
        )
    except OSError as error:
        raise NotStarted(f"it cannot be started: {error}") from error
    watch = asyncio.create_task(child.wait())
    watch.add_done_callback(lambda _: ended())
    parser = Parser[Answer](child, limits.seconds)
    try:
        await parser.start(understand, limits.memory)
        yield parser
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await watch
