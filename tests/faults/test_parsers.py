"""bounce-ingest as it runs: its parsers may be killed, nothing that was answered is lost, and none outlives it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM

import asyncpg
from uuid_utils.compat import uuid7

from local_stack.processes import free_port
from tests.bouncing import DOMAIN, bounce, published, return_path, send
from tests.conftest import eventually
from tests.faults.alone import Alone, alone
from tests.faults.scene import FOLDER
from tracepost.tokens import Keyring

KEYRING = Keyring({1: bytes(32)})  # as `alone` has it
MAILS = 300
PARSERS = 2


@asynccontextmanager
async def bounce_ingest(broker: str, database: str) -> AsyncIterator[tuple[Alone, int]]:
    """The service, ready, and its SMTP port."""
    port = free_port()
    settings = {"smtp_port": str(port), "bounce_domain": DOMAIN, "parsers": str(PARSERS)}
    async with alone("bounce-ingest", FOLDER, broker, database, **settings) as running:
        await running.start()
        await running.until_ready()
        yield running, port


async def parsers(running: Alone, other_than: AbstractSet[int] = frozenset()) -> list[int]:
    """The children of the service, once all are there and none of them is one of those."""
    pid = running.processes[0].pid

    async def look() -> list[int]:
        children = list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        assert len(children) == PARSERS
        assert not other_than & {*children}
        assert await running.metric("tracepost_parsers") == PARSERS
        return children

    return await eventually(look)


async def none_left(pids: list[int]) -> None:
    async def look() -> bool:
        return not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)

    await eventually(look)


async def held(database: str) -> int:
    """How many mails are in quarantine since they could not be read."""
    connection = await asyncpg.connect(database)
    found = await connection.fetchval("SELECT count(*) FROM quarantine WHERE reason = 'parser_failed'")
    await connection.close()
    return int(found)


async def report(port: int, number: int) -> None:
    recipient = f"r{number}@example.test"
    path = return_path(uuid7(), recipient, KEYRING)
    await send(port, bounce(path, recipient), path)


async def test_parsers_killed_under_load(broker: str, database: str) -> None:
    async with bounce_ingest(broker, database) as (running, port):
        left = iter(range(MAILS))

        async def session() -> None:
            for number in left:
                await report(port, number)

        load = asyncio.gather(*(session() for _ in range(10)))
        killed: set[int] = set()
        for _ in range(2):
            for pid in await parsers(running, other_than=killed):
                os.kill(pid, SIGKILL)
                killed.add(pid)
        await load
        # Whose parser was killed a second time, when it was there alone, is given up, and kept.
        given_up = await held(database)
        assert len({event.message_id for event in await published(broker, MAILS - given_up)}) == MAILS - given_up
        assert given_up < PARSERS * 2
        assert await running.metric("tracepost_parsers_broken_total") <= 2 * PARSERS
        assert await running.faults() == {}


async def test_no_parser_outlives_a_killed_service(broker: str, database: str) -> None:
    async with bounce_ingest(broker, database) as (running, _):
        pids = await parsers(running)
        await running.kill()
        await none_left(pids)


async def test_a_signal_to_the_whole_group_ends_the_service_in_order(broker: str, database: str) -> None:
    async with bounce_ingest(broker, database) as (running, port):
        pids = await parsers(running)
        mails = asyncio.gather(*map(partial(report, port), range(50)))
        await report(port, 50)
        os.killpg(running.processes[0].pid, SIGTERM)
        await asyncio.gather(mails, return_exceptions=True)
        assert await running.processes[0].wait() == 0
        await none_left(pids)
