"""Parsers are real processes: what breaks one is set apart, nothing else is lost, and none outlives the service."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import SimpleNamespace

import pytest

from bounce_ingest.parsers.pool import Parsers, parsing
from bounce_ingest.parsers.values import Limits, NoParser, Unparsed
from bounce_ingest.report import understand
from tests.conftest import ROOT, eventually
from tests.integration.breaking import obey

MIB = 1024 * 1024
LIMITS = Limits(seconds=0.7, memory=128 * MIB, read=MIB)
PATIENT = Limits(seconds=10.0, memory=128 * MIB, read=MIB)


async def parse_all(parsers: Parsers[bytes], *mails: bytes) -> list[bytes | Unparsed]:
    return await asyncio.gather(*map(parsers.parse, mails))


async def ready(parsers: Parsers[bytes], count: int, other_than: AbstractSet[int] = frozenset()) -> list[int]:
    async def look() -> bool:
        return len(parsers.pids) == count and not other_than & {*parsers.pids}

    await eventually(look)
    return parsers.pids


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pids: list[int]) -> None:
    async def look() -> bool:
        return not any(map(alive, pids))

    await eventually(look)


async def begun(parsers: Parsers[bytes], mail: bytes) -> asyncio.Task[bytes | Unparsed]:
    """A mail that is in a batch of its own."""
    task = asyncio.create_task(parsers.parse(mail))
    for _ in range(3):  # it is put in line, a parser's turn comes, it is taken
        await asyncio.sleep(0)
    return task


async def test_mails_are_parsed_by_several_processes() -> None:
    async with parsing(obey, 2, PATIENT) as parsers:
        pids = await ready(parsers, 2)
        assert os.getpid() not in pids
        mails = [b"mail %d" % number for number in range(500)]
        assert await parse_all(parsers, *mails) == [mail.upper() for mail in mails]
        assert await parsers.check() is None
        assert sorted(parsers.pids) == sorted(pids)
    await gone(pids)


async def test_a_mail_as_long_as_a_batch_and_longer_than_is_read() -> None:
    async with parsing(obey, 1, PATIENT) as parsers:
        whole, cut = await parse_all(parsers, b"x" * MIB, b"y" * 2 * MIB)
        assert whole == b"X" * MIB
        assert cut == b"Y" * MIB


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (b"hang", "timed_out"),
        (b"spin", "timed_out"),
        (b"eat", "too_much_memory"),
        (b"die", "died"),
        (b"fail", "died"),
        (b"leave", "died"),
    ],
)
async def test_what_breaks_a_parser_is_given_up_and_the_others_are_not(mail: bytes, reason: str) -> None:
    async with parsing(obey, 1, LIMITS) as parsers:
        answers = await parse_all(parsers, b"before", mail, b"after")
        assert answers == [b"BEFORE", Unparsed(reason), b"AFTER"]  # type: ignore[arg-type]  # it is one of them


async def test_a_mail_that_takes_too_much_memory_is_not_called_unreadable() -> None:
    async with parsing(understand, 1, Limits(seconds=10.0, memory=128 * MIB, read=64 * MIB)) as parsers:
        assert await parsers.parse(b"Subject: x\n\n" + bytes(60 * MIB)) == Unparsed("too_much_memory")


def test_a_parser_needs_no_models_of_events() -> None:
    told = "import sys, bounce_ingest.report; sys.exit('pydantic' in sys.modules)"  # half of the memory of a parser
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


async def test_a_mail_whose_parser_others_ended_is_parsed_again() -> None:
    async with parsing(obey, 2, PATIENT) as parsers:
        killed: set[int] = set()
        for _ in range(4):  # it may be the one that has nothing to do
            pids = await ready(parsers, 2, other_than=killed)
            task = await begun(parsers, b"work")
            os.kill(pids[0], signal.SIGKILL)
            killed.add(pids[0])
            assert await task == b"WORK"


async def test_parsers_that_end_while_they_have_nothing_to_do_are_replaced() -> None:
    async with parsing(obey, 2, PATIENT) as parsers:
        pids = await ready(parsers, 2)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await ready(parsers, 2, other_than={*pids})


async def test_what_came_in_time_counts_though_the_service_stood_still() -> None:
    async with parsing(obey, 1, LIMITS) as parsers:
        await ready(parsers, 1)
        task = await begun(parsers, b"work")
        time.sleep(LIMITS.seconds + 0.1)  # noqa: ASYNC251 - which is to stand still
        assert await task == b"WORK"


async def test_a_parser_that_hangs_holds_up_none_of_the_others() -> None:
    async with parsing(obey, 2, PATIENT) as parsers:
        await ready(parsers, 2)
        hanging = await begun(parsers, b"hang")
        async with asyncio.timeout(PATIENT.seconds / 2):
            for _ in range(20):
                assert await parsers.parse(b"mail") == b"MAIL"
        assert not hanging.done()
        hanging.cancel()


async def test_what_is_printed_is_no_answer() -> None:
    async with parsing(obey, 1, LIMITS) as parsers:
        assert await parsers.parse(b"chatter") == b"CHATTER"


async def test_a_parser_knows_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOST_TOKEN_KEYS", "secret")
    async with parsing(obey, 1, LIMITS) as parsers:
        seen = await parsers.parse(b"environment")
    assert isinstance(seen, bytes)
    assert b"PYTHONPATH" in seen
    assert b"secret" not in seen


async def test_every_parser_killed_under_load_loses_nothing() -> None:
    mails = [b"work %d" % number for number in range(1_500)]
    killed: set[int] = set()
    async with parsing(obey, 2, PATIENT) as parsers:
        await ready(parsers, 2)
        load = asyncio.gather(*map(parsers.parse, mails))
        for _ in range(3):
            for pid in await ready(parsers, 2, other_than=killed):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            assert not load.done()
        answers = await load
        await ready(parsers, 2, other_than=killed)
    assert answers == [mail.upper() for mail in mails]
    await gone([*killed])


async def test_a_supervisor_that_ends_the_whole_group_does_not_end_the_parsers() -> None:
    async with parsing(obey, 1, LIMITS) as parsers:
        (pid,) = await ready(parsers, 1)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        assert await parsers.parse(b"mail") == b"MAIL"
        assert parsers.pids == [pid]


async def test_who_gave_up_holds_up_nobody() -> None:
    async with parsing(obey, 1, PATIENT) as parsers:
        impatient = asyncio.create_task(parsers.parse(b"hang"))
        await asyncio.sleep(0)
        impatient.cancel()
        async with asyncio.timeout(PATIENT.seconds / 2):
            assert await parsers.parse(b"mail") == b"MAIL"


async def test_without_a_parser_that_starts_a_mail_is_refused_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_here(mail: bytes) -> bytes:
        return mail

    only_here.__module__, only_here.__qualname__ = "absent", "only_here"
    monkeypatch.setitem(sys.modules, "absent", SimpleNamespace(only_here=only_here))
    async with parsing(only_here, 1, LIMITS) as parsers:
        with pytest.raises(NoParser, match="exit code 1 while it started"):
            await parsers.parse(b"mail")
        assert await parsers.check() == "no parser runs: it ended with exit code 1 while it started"


# A service of its own, with a mail that hangs; it prints its parsers and waits to be killed.
SERVICE = """
import asyncio
from bounce_ingest.parsers.pool import parsing
from tests.integration.breaking import obey
from tests.integration.test_parsers import PATIENT, ready

async def main():
    async with parsing(obey, 2, PATIENT) as parsers:
        pids = await ready(parsers, 2)
        hanging = asyncio.create_task(parsers.parse(b"spin"))
        await asyncio.sleep(0.1)
        print(*pids, flush=True)
        await hanging

asyncio.run(main())
"""


async def test_a_service_that_is_killed_leaves_no_parser() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    pids = [int(pid) for pid in (await child.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    child.kill()
    await child.wait()
    await gone(pids)
