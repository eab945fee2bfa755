"""PostgreSQL restarts, crashes, closes connections, holds locks, runs out of room: nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
import pytest_asyncio

from local_stack.postgres import PostgresServer
from local_stack.stack import Servers
from tests.conftest import eventually, room
from tests.faults.disk import Disk, small_disk
from tests.faults.scene import Scene, scene
from tracepost import topology
from tracepost.runner import background

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

Tell = Callable[[object], None]
QUEUE = topology.STATUS_STORE_EVENTS.name
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'status-store'
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", name="server")
async def _server() -> AsyncIterator[PostgresServer]:
    server = PostgresServer(room("test-database"), print)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session", name="staged")
async def _staged(server: PostgresServer, servers: Servers) -> AsyncIterator[Scene]:
    async with scene(server, servers, seed=3) as staged:
        yield staged


async def test_a_restart_and_a_crash_of_the_server(staged: Scene, tell: Tell) -> None:
    for end in (staged.server.stop, staged.server.kill):
        await end()
        await staged.running.until_unready("database", "PostgreSQL: ")
        tell(await staged.running.until_unready(QUEUE, "tried"))
        await staged.server.start()
        await staged.running.until_ready()
        await staged.under_way()
    tell(await staged.settled())


async def test_connections_terminated_again_and_again(staged: Scene, tell: Tell) -> None:
    terminated: list[int] = []

    async def terminate() -> None:
        async with staged.books.operator() as connection:
            while True:
                terminated.append(await connection.fetchval(TERMINATE))
                await asyncio.sleep(0.01)

    async def many() -> bool:
        return sum(terminated) >= 100

    async with background(terminate()):
        tell(await staged.running.until_unready(QUEUE, "tried"))
        await eventually(many)
    tell(f"{sum(terminated)} connections terminated; {await staged.settled()}")


async def test_a_lock_held_for_longer_than_anybody_waits(staged: Scene, tell: Tell) -> None:
    await locked(staged, tell, seconds=0)


@pytest.mark.long
async def test_a_lock_held_for_a_minute(staged: Scene, tell: Tell) -> None:
    await locked(staged, tell, seconds=60)


async def locked(staged: Scene, tell: Tell, seconds: float) -> None:
    async with staged.books.operator() as connection, connection.transaction():
        await connection.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        held = asyncio.create_task(asyncio.sleep(seconds))
        tell(await staged.running.until_unready(QUEUE, "lock timeout"))
        await held
        assert await staged.running.faults()
    tell(await staged.settled())


async def test_no_room_for_rows(small: Disk, servers: Servers, tell: Tell) -> None:
    async with database_on(small) as server, scene(server, servers, seed=4) as staged:
        small.fill()
        tell(await staged.running.until_unready(QUEUE, "No space left on device"))
        small.free()
        tell(await staged.settled())


async def test_no_room_for_the_write_ahead_log(small: Disk, servers: Servers, tell: Tell) -> None:
    async with database_on(small) as server, scene(server, servers, seed=5) as staged:
        small.fill()
        async with staged.books.operator() as connection:
            with suppress(asyncpg.ConnectionDoesNotExistError):  # the server may be gone before it answers
                await connection.execute("SELECT pg_switch_wal()")  # there is none to go on with
            async with asyncio.timeout(15):
                await server.process.wait()
        tell(await staged.running.until_unready("database", "PostgreSQL: "))
        small.free()
        await server.stop()
        await server.start()
        tell(await staged.settled())


@pytest.fixture
def small() -> Iterator[Disk]:
    with small_disk(megabytes=200) as disk:
        yield disk


@asynccontextmanager
async def database_on(disk: Disk) -> AsyncIterator[PostgresServer]:
    """PostgreSQL with its data on this disk, whose log says PANIC in the end."""
    server = PostgresServer(disk.folder, print)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
