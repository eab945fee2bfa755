"""One status-store with events coming in all the time, on a PostgreSQL to which something is about to happen."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from random import Random

import asyncpg

from local_stack.postgres import PostgresServer
from local_stack.stack import Servers, create_database
from tests.conftest import eventually, room, virtual_host
from tests.faults.alone import Alone, alone
from tests.faults.drawn import Arriving, arriving, copied, messages
from tests.faults.truth import Books, books, hold
from tracepost import topology
from tracepost.broker import Publisher, publishing
from tracepost.events import AnyEvent
from tracepost.runner import background

FOLDER = room("test-stores")
SETTLED_SECONDS = 60.0
PAUSE = 0.1
MESSAGES = 4  # at a time, with all their events
PUBLISHED_AT_ONCE = 5_000


@dataclass
class Load:
    """Publishes copies of ever new events until `stopping`."""

    publisher: Publisher
    random: Random
    events: list[AnyEvent] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self) -> None:
        """Some copies come at once, and some of earlier ones with them."""
        source, late = messages(self.random), list[AnyEvent]()
        while not self.stopping.is_set():
            new = [each for message in islice(source, MESSAGES) for each in message]
            self.events += new
            late += copied(self.random, new)
            self.random.shuffle(late)
            now, late = new + late[len(new) :], late[: len(new)]
            await publish(self.publisher, self.random, now)
            await asyncio.sleep(PAUSE)
        await publish(self.publisher, self.random, late)
        self.stopped.set()


async def publish(publisher: Publisher, random: Random, copies: list[AnyEvent]) -> None:
    """Return when the broker has them all; not all at once, for each is to be confirmed in the publisher's time."""
    line = iter(arriving(random, copies))
    while some := list(islice(line, PUBLISHED_AT_ONCE)):
        await asyncio.gather(*(_sent(publisher, each) for each in some))


async def _sent(publisher: Publisher, each: Arriving) -> None:
    key, message = each
    await publisher.send(message, topology.EVENTS, key)


@dataclass(frozen=True)
class Scene:
    """All that takes part."""

    server: PostgresServer
    running: Alone
    books: Books
    load: Load

    async def under_way(self, count: int = 200) -> None:
        """Wait until so many more events are stored."""
        until = count + await self.books.stored()

        async def so_many() -> bool:
            return await self.books.stored() >= until

        await eventually(so_many)

    async def settled(self) -> str:
        """It is ready by itself, and all that was published is stored and folded once; answers the counts in words."""
        await self.running.until_ready()
        await self.under_way()
        self.load.stopping.set()
        await self.load.stopped.wait()
        return await settled(self.running, self.books, self.load.events)


async def settled(running: Alone, told: Books, events: Iterable[AnyEvent], within: float = SETTLED_SECONDS) -> str:
    """Wait until nothing is left to do, stop the processes, and compare; answers the counts in words."""
    events = list(events)

    async def nothing_left() -> bool:
        stored = await told.stored()
        assert stored >= len(events), f"{stored} of {len(events)} events are stored"
        waiting = await told.waiting(topology.STATUS_STORE_EVENTS.name)
        assert waiting == 0, f"{waiting} messages wait"
        return await told.numbered_and_published()

    while True:
        await running.until_ready()  # and so able to stop as it should
        await eventually(nothing_left, within)
        await running.stop()
        if not await told.waiting(topology.STATUS_STORE_EVENTS.name):
            return await hold(told, events)
        await running.start()  # with the last copies, which had been taken and went back


@asynccontextmanager
async def resources(postgres_url: str, servers: Servers) -> AsyncIterator[tuple[str, str]]:
    """The URLs of a virtual host and of a database that go with the block."""
    name = f"test_{secrets.token_hex(4)}"
    await create_database(postgres_url, name)
    async with virtual_host(servers) as broker:
        yield broker, f"{postgres_url}/{name}"
    connection = await asyncpg.connect(f"{postgres_url}/postgres")
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


@asynccontextmanager
async def scene(server: PostgresServer, servers: Servers, seed: int) -> AsyncIterator[Scene]:
    """With something stored already."""
    async with (
        resources(server.url, servers) as (broker, database),
        books(broker, database) as told,
        publishing(broker) as publisher,
        alone("status-store", FOLDER, broker, database) as running,
    ):
        await running.start()
        await running.until_ready()
        load = Load(publisher, Random(seed))
        async with background(load.generate()):
            everything = Scene(server, running, told, load)
            await everything.under_way()
            yield everything
