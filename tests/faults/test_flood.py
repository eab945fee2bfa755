"""A flood of reports while the broker and the database go away: what was answered 250 is safe, exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from uuid import UUID

import asyncpg
import pytest

from local_stack.postgres import PostgresServer
from local_stack.processes import free_port
from local_stack.rabbitmq import RabbitNode
from local_stack.stack import Servers
from tests.bouncing import DOMAIN, published
from tests.conftest import new_database, room, virtual_host
from tests.faults.alone import Alone, alone
from tests.handing_in import Mail, crowd, some
from tests.proxy import Proxy, proxied
from tracepost.tokens import Keyring

KEYRING = Keyring({1: bytes(32)})  # as `alone` has it
FOLDER = room("test-flood")
UNPROVEN = 3  # each third report proves nothing

Tell = Callable[[object], None]
Trouble = Callable[[], Awaitable[None]]


@asynccontextmanager
async def running(broker: str, database: str, **settings: str) -> AsyncIterator[tuple[Alone, int]]:
    """bounce-ingest, ready, and its SMTP port."""
    port = free_port()
    told = {"smtp_port": str(port), "bounce_domain": DOMAIN, "log_level": "WARNING", **settings}
    async with alone("bounce-ingest", FOLDER, broker, database, **told) as service:
        await service.start()
        await service.until_ready()
        yield service, port


async def flood(port: int, count: int, connections: int, troubles: Sequence[Trouble]) -> tuple[list[Mail], int]:
    """Hand so many in, with each trouble at its time; answers those that were taken, and how often one was not."""
    mails, taken = some(KEYRING, count, UNPROVEN), list[Mail]()

    async def trouble() -> None:
        for number, each in enumerate(troubles, 1):
            while len(taken) < number * count // (len(troubles) + 1):
                await asyncio.sleep(0.01)
            await each()

    async with asyncio.TaskGroup() as group:
        group.create_task(trouble())
        refused = await crowd(port, mails, connections, taken.append)
    return taken, refused


async def hold(taken: list[Mail], broker: str, database: str) -> str:
    """Each is one event or one entry, and there is nothing else; answers the counts."""
    expected = {mail.message_id for mail in taken if mail.message_id}
    held = Counter(sha256(mail.content).digest() for mail in taken if not mail.message_id)
    ids: defaultdict[UUID, set[UUID]] = defaultdict(set)
    copies = 0
    while len(ids) < len(expected):
        for each in await published(broker, 1):
            copies += 1
            ids[each.message_id].add(each.id)
    assert ids.keys() == expected
    assert {len(each) for each in ids.values()} == {1}
    connection = await asyncpg.connect(database)
    try:
        found = Counter(row[0] for row in await connection.fetch("SELECT sha256(raw) FROM quarantine"))
    finally:
        await connection.close()
    assert found == held
    return f"{len(expected)} events in {copies} copies, {len(held)} entries"


async def test_connections_are_cut_and_answers_held_back(broker: str, database: str, tell: Tell) -> None:
    async with proxied(broker) as (amqp, rabbitmq), proxied(database) as (tables, postgresql):

        async def away(proxy: Proxy) -> None:
            proxy.refusing = True
            proxy.cut()
            await asyncio.sleep(0.3)
            proxy.refusing = False

        async def silent(proxy: Proxy) -> None:
            proxy.answering.clear()
            await asyncio.sleep(0.7)
            proxy.answering.set()

        troubles = [partial(deed, proxy) for deed in (away, silent) for proxy in (rabbitmq, postgresql)]
        async with running(amqp, tables, confirm_within="0.5", parsers="1") as (_, port):
            taken, refused = await flood(port, 400, 20, troubles)
        assert len(taken) == 400
        assert refused
        tell(f"{await hold(taken, broker, database)}; {refused} times to be tried again")


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_broker_and_the_database_restart_in_the_middle(tell: Tell) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    node, server = RabbitNode(FOLDER, print), PostgresServer(FOLDER, print)

    async def restart(one: RabbitNode | PostgresServer) -> None:
        await one.stop()
        await one.start()

    await asyncio.gather(node.start(), server.start())
    try:
        on = Servers(node.broker, server.url)
        async with virtual_host(on) as broker, new_database(on) as database:
            async with running(broker, database, workers="2", confirm_within="5") as (_, port):
                taken, refused = await flood(port, 20_000, 50, [partial(restart, node), partial(restart, server)])
            assert len(taken) == 20_000
            tell(f"{await hold(taken, broker, database)}; {refused} times to be tried again")
    finally:
        await node.stop()
        await server.stop()
