"""Understanding reports of our own making: in this process, and contained in parsers, many mails in flight or one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle, islice

from bounce_ingest.parsers.pool import parsing
from bounce_ingest.parsers.values import Limits
from bounce_ingest.report import Report, understand
from tests.bench.harness import Bench, Ratio, Work, Wrong
from tests.conftest import ROOT

NAME = "parse"
MAILS = 10_000
IN_FLIGHT = 100
LIMITS = Limits(seconds=10, memory=512 * 1024 * 1024, read=1024 * 1024)


def samples() -> Sequence[bytes]:
    """So many mails."""
    found = [path.read_bytes() for path in sorted((ROOT / "tests/data").rglob("*.eml"))]
    return list(islice(cycle(found), MAILS))


@asynccontextmanager
async def directly(_: str) -> AsyncIterator[Work]:
    """The limit: without any containment."""
    mails = samples()
    reports: list[Report] = []

    async def work() -> int:
        reports.extend(map(understand, mails))
        return len(mails)

    yield work
    _check(mails, reports)


@asynccontextmanager
async def contained(count: int, in_flight: int, _: str) -> AsyncIterator[Work]:
    """In so many parsers, from so many sessions that wait for each answer."""
    mails = samples()
    reports: list[object] = [None] * len(mails)
    async with parsing(understand, count, LIMITS) as parsers:
        for _each in range(10 * count):  # each has started and read its rules
            await asyncio.gather(*map(parsers.parse, mails[:IN_FLIGHT]))

        async def session(line: Iterator[tuple[int, bytes]]) -> None:
            for place, mail in line:
                reports[place] = await parsers.parse(mail)

        async def work() -> int:
            line = iter(enumerate(mails))
            await asyncio.gather(*(session(line) for _ in range(in_flight)))
            return len(mails)

        yield work
    _check(mails, reports)


def _check(mails: Sequence[bytes], reports: Sequence[object]) -> None:
    if list(reports) != [understand(mail) for mail in mails]:
        raise Wrong("the reports are not those of the mails")


BENCH = Bench(
    NAME,
    "mail",
    {
        "directly": directly,
        "one parser": partial(contained, 1, IN_FLIGHT),
        "two parsers": partial(contained, 2, IN_FLIGHT),
        "one mail at a time": partial(contained, 1, 1),
    },
    [
        Ratio("one parser", "directly", reach=0.5),
        Ratio("two parsers", "directly"),
        Ratio("one mail at a time", "directly"),
    ],
)
