"""Several processes behind one port: what they count adds up, who dies is replaced, what it left in the spool goes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
from uuid_utils.compat import uuid7

from tests.conftest import eventually
from tests.pixels import NOWHERE, Running, look, path, published, spooled, started
from tracepost.tokens import Keyring

WORKERS = 2
PERSONS = 'tracepost_pixel_requests_total{verdict="person"}'
REPLACED = "tracepost_workers_replaced_total"


def children(pixel: Running) -> list[int]:
    return [
        int(pid) for pid in Path(f"/proc/{pixel.process.pid}/task/{pixel.process.pid}/children").read_text().split()
    ]


@asynccontextmanager
async def visitors() -> AsyncIterator[aiohttp.ClientSession]:
    """Each on a connection of its own, so that all workers get some."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def counts(pixel: Running, sample: str, value: float) -> bool:
    found = await pixel.counted(sample)
    assert found == value, f"{sample} is {found}, not {value}"
    return True


async def test_all_take_part_and_what_they_count_adds_up_over_deaths(
    broker: str, token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    messages = [uuid7() for _ in range(60)]
    async with started(broker, token_keys, tmp_path, WORKERS=WORKERS) as pixel, visitors() as session:
        await eventually(pixel.ready)
        before = children(pixel)
        assert len(before) == WORKERS
        await asyncio.gather(*(look(session, pixel.url + path(keyring, each)) for each in messages[:30]))
        await eventually(partial(counts, pixel, PERSONS, 30))
        assert await pixel.counted('tracepost_amqp_connected{session="publisher"}') == WORKERS
        os.kill(before[0], signal.SIGKILL)
        # What is asked of the dead one meanwhile waits for the one that takes its place.
        await asyncio.gather(*(look(session, pixel.url + path(keyring, each)) for each in messages[30:]))
        await eventually(partial(counts, pixel, PERSONS, 60))
        await eventually(partial(counts, pixel, REPLACED, 1))
        await eventually(pixel.ready)
        after = children(pixel)
        assert len(after) == WORKERS
        assert set(before) - set(after) == {before[0]}
        os.kill(pixel.process.pid, signal.SIGTERM)
        assert await pixel.process.wait() == 0
    assert pixel.process.log.read_text().count('"exit_code": 0') == WORKERS
    found = await published(broker)
    assert sorted(each.message_id for each in found) == sorted(messages)


async def test_what_dead_and_removed_workers_left_in_the_spool_goes_out(
    broker: str, token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    messages = [uuid7() for _ in range(40)]
    async with started(NOWHERE, token_keys, tmp_path, WORKERS=WORKERS) as pixel, visitors() as session:
        await asyncio.gather(*(look(session, pixel.url + path(keyring, each)) for each in messages))
        for pid in [*children(pixel), pixel.process.pid]:
            os.kill(pid, signal.SIGKILL)
        await pixel.process.wait()
    kept = spooled(tmp_path / "spool")
    assert sorted(each.message_id for each in kept) == sorted(messages)
    async with started(broker, token_keys, tmp_path) as pixel:

        async def drained() -> bool:
            return await pixel.counted("tracepost_pixel_spool_bytes") == 0

        await eventually(drained)
    assert sorted(each.id for each in await published(broker)) == sorted(each.id for each in kept)


async def test_workers_end_with_their_parent(token_keys: str, tmp_path: Path) -> None:
    async with started(NOWHERE, token_keys, tmp_path, WORKERS=2) as pixel:
        workers = children(pixel)
        os.kill(pixel.process.pid, signal.SIGKILL)
        await pixel.process.wait()

        async def gone() -> bool:
            return not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers)

        await eventually(gone)
