"""Shares mails out among parsers; a mail that breaks them is given up, and harms no other.

The standard library's executors do not serve: they have no limit on a call's time, and one dead process breaks all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic

import structlog

from bounce_ingest.parsers.process import Answer, Broken, NotStarted, Parser, started
from bounce_ingest.parsers.values import Limits, NoParser, Unparsed
from tracepost import metrics
from tracepost.broker.session import pause
from tracepost.runner import background

log = structlog.get_logger()

MOST_MAILS = 32  # in one batch
MOST_BYTES = 1024 * 1024  # in one batch; a single larger mail still goes, alone


@dataclass(slots=True, eq=False)
class _Entry(Generic[Answer]):
    mail: bytes
    answer: asyncio.Future[Answer | Unparsed]
    alone: bool = False  # it was in hand when a parser broke


class Parsers(Generic[Answer]):
    """What waits goes together to the next parser that is free; alone, a mail waits for nothing.

    When a parser breaks, the mails that it had go again one by one, each with the whole time limit. Who breaks a second
    one is given up: the first may have been ended by others, or found no answer because the whole machine stood still.
    """

    def __init__(self, understand: Callable[[bytes], Answer], count: int, limits: Limits) -> None:
        self._understand, self._count, self._limits = understand, count, limits
        self._waiting: deque[_Entry[Answer]] = deque()
        self._arrived = asyncio.Event()
        self._ready: set[Parser[Answer]] = set()
        self._fault = "it has not started yet"

    @property
    def pids(self) -> list[int]:
        """The processes that are ready."""
        return [parser.pid for parser in self._ready]

    async def parse(self, mail: bytes) -> Answer | Unparsed:
        """What `understand` answers in a parser, or why the mail is given up; NoParser when there is none."""
        entry = _Entry[Answer](mail[: self._limits.read], asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._arrived.set()
        return await entry.answer

    async def check(self) -> str | None:
        """For readiness."""
        return None if self._ready else f"no parser runs: {self._fault}"

    async def run(self) -> None:
        """Keep the parsers; runs for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._count):
                    group.create_task(self._keep())
        finally:
            self._refuse("the parsers were stopped")

    async def _keep(self) -> None:
        """One parser after the other."""
        failures = 0
        while True:
            try:
                async with started(self._understand, self._limits, self._arrived.set) as parser:
                    failures = 0
                    await self._use(parser)
            except NotStarted as error:
                failures += 1
                self._fault = str(error)
                log.warning("no parser started", reason=self._fault)
                if not self._ready:
                    self._refuse(self._fault)
                await asyncio.sleep(pause(failures))

    async def _use(self, parser: Parser[Answer]) -> None:
        """Until it breaks."""
        self._ready.add(parser)
        metrics.PARSERS.inc()
        try:
            while True:
                await self._arrived.wait()
                if parser.has_ended:
                    raise Broken("died")
                if batch := self._take():
                    await self._hand(parser, batch)
                else:
                    self._arrived.clear()
        except Broken as error:
            self._fault = f"one {error.reason.replace('_', ' ')}"
            metrics.PARSERS_BROKEN.labels(error.reason).inc()
            log.warning("a parser broke", reason=error.reason)
        finally:
            self._ready.discard(parser)
            metrics.PARSERS.dec()

    async def _hand(self, parser: Parser[Answer], batch: Sequence[_Entry[Answer]]) -> None:
        try:
            _settle(batch, await parser.parse([entry.mail for entry in batch]))
        except Broken as error:
            if batch[0].alone:
                _settle(batch, [Unparsed(error.reason)])
            raise
        finally:
            for entry in batch:
                if not entry.answer.done():
                    entry.alone = True
                    self._waiting.append(entry)
                    self._arrived.set()

    def _take(self) -> list[_Entry[Answer]]:
        """The next batch, leaving out what nobody waits for any more."""
        batch: list[_Entry[Answer]] = []
        size = 0
        while self._waiting and len(batch) < MOST_MAILS and size < MOST_BYTES:
            entry = self._waiting.popleft()
            if entry.answer.done():
                continue
            if entry.alone and batch:
                self._waiting.appendleft(entry)
                break
            batch.append(entry)
            size += len(entry.mail)
            if entry.alone:
                break
        return batch

    def _refuse(self, reason: str) -> None:
        for entry in self._waiting:
            if not entry.answer.done():
                entry.answer.set_exception(NoParser(reason))
        self._waiting.clear()


def _settle(batch: Sequence[_Entry[Answer]], answers: Sequence[Answer | Unparsed]) -> None:
    for entry, answer in zip(batch, answers, strict=True):
        metrics.PARSED.labels(answer.reason if isinstance(answer, Unparsed) else "answered").inc()
        if not entry.answer.done():
            entry.answer.set_result(answer)


@asynccontextmanager
async def parsing(understand: Callable[[bytes], Answer], count: int, limits: Limits) -> AsyncIterator[Parsers[Answer]]:
    """So many parsers, until the block ends. `understand` must be a function that another process can import."""
    parsers = Parsers(understand, count, limits)
    async with background(parsers.run()):
        yield parsers
