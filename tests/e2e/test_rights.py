"""Nobody may do what is not their work, at the broker or in a database; that they may do theirs, all else shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused
from yarl import URL

from local_stack.stack import Stack
from tests.e2e.conftest import APP
from tests.rights import secret
from tracepost.topology import DEAD, EVENTS, QUEUES, REQUESTS, STATUS

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO_RIGHT = asyncpg.InsufficientPrivilegeError

# What each may write, by exchange; the exchange without a name reaches every queue.
WRITES = {
    "pixel": {(EVENTS, "opened")},
    "bounce-ingest": {(EVENTS, key) for key in ("bounced", "deferred", "complained", "delivered", "opened")}
    | {(DEAD, "bounce-ingest.smtp"), (DEAD, "bounce-ingest.events")},
    "sender": {(EVENTS, key) for key in ("accepted", "rejected", "deferred", "delivered", "bounced", "cancelled")}
    | {(REQUESTS, "send.normal"), (REQUESTS, "send.bulk"), ("", "status-store.events")}
    | {(DEAD, key) for key in ("sender.requests.normal", "sender.requests.bulk", "sender.events")},
    APP: {(REQUESTS, "send.normal"), (REQUESTS, "send.bulk")},
}
TRIED = [
    *((EVENTS, key) for key in ("accepted", "delivered", "opened", "replied", "erased")),
    *((REQUESTS, key) for key in ("send.normal", "send.other")),
    *((DEAD, key) for key in ("sender.events", "status-store.events")),
    (STATUS, "read"),
    ("", "status-store.events"),
]
READS = {
    "pixel": set[str](),
    "bounce-ingest": {"bounce-ingest.events"},
    "sender": {"sender.requests.normal", "sender.requests.bulk", "sender.events"},
    "status-store": {"status-store.events", DEAD},
    APP: set[str](),
}


@pytest_asyncio.fixture(loop_scope="session")
async def connection(
    request: pytest.FixtureRequest, stack: Stack, secrets: Path
) -> AsyncIterator[aio_pika.abc.AbstractConnection]:
    """As the user that the test names."""
    user = request.param
    url = URL(stack.servers.broker.amqp_url).with_user(user).with_password(secret(secrets, f"amqp-password-{user}"))
    async with await aio_pika.connect(str(url)) as opened:
        yield opened


async def publish(channel: AbstractChannel, exchange: str, key: str) -> None:
    to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
    await to.publish(aio_pika.Message(b"{}"), key)


@pytest.mark.parametrize(
    ("connection", "exchange", "key"),
    [(user, *tried) for user, allowed in WRITES.items() for tried in TRIED if tried not in allowed],
    indirect=["connection"],
)
async def test_nobody_writes_what_is_not_theirs(
    connection: aio_pika.abc.AbstractConnection, exchange: str, key: str
) -> None:
    async with connection.channel() as channel:
        with pytest.raises(ChannelAccessRefused):
            await publish(channel, exchange, key)


@pytest.mark.parametrize(
    ("connection", "queue"),
    [(user, queue.name) for user, own in READS.items() for queue in QUEUES if queue.name not in own],
    indirect=["connection"],
)
async def test_nobody_reads_anothers_queue(connection: aio_pika.abc.AbstractConnection, queue: str) -> None:
    async with connection.channel() as channel:
        source = await channel.get_queue(queue, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await source.get(fail=False)


@pytest.mark.parametrize("connection", READS, indirect=True)
async def test_nobody_changes_the_topology(connection: aio_pika.abc.AbstractConnection) -> None:
    for name in ("sender.events", "another"):
        async with connection.channel() as channel:
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
    async with connection.channel() as channel:
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_exchange(EVENTS, "topic", durable=True)


@pytest.mark.parametrize("connection", [APP], indirect=True)
async def test_an_app_follows_the_status_by_queues_of_its_own(connection: aio_pika.abc.AbstractConnection) -> None:
    for name in (f"{APP}.mine", None):
        async with connection.channel() as channel:
            own = await channel.declare_queue(name, exclusive=True)
            await own.bind(STATUS, "#")
            assert await own.get(fail=False) is None
    async with connection.channel() as channel:
        own = await channel.declare_queue(exclusive=True)
        with pytest.raises(ChannelAccessRefused):
            await own.bind(EVENTS, "#")


async def asked(stack: Stack, role: str, database: str, statement: str) -> None:
    url = URL(stack.servers.postgres_url).with_user(role) / database
    opened = await asyncpg.connect(str(url))
    try:
        await opened.execute(statement)
    finally:
        await opened.close()


@pytest.mark.parametrize(
    ("role", "database", "other"), [("sender", "sender", "status"), ("status_store", "status", "sender")]
)
async def test_a_role_reads_and_writes_rows_and_changes_no_table(
    stack: Stack, role: str, database: str, other: str
) -> None:
    await asked(stack, role, database, "SELECT FROM deliveries LIMIT 1; DELETE FROM deliveries WHERE false")
    for statement in (
        "CREATE TABLE mine (n int)",
        "CREATE TEMP TABLE mine (n int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE deliveries ADD COLUMN mine int",
        "TRUNCATE deliveries",
        "DELETE FROM migrations",
        "COPY deliveries TO PROGRAM 'true'",
        "CREATE ROLE mine",
    ):
        with pytest.raises(NO_RIGHT):
            await asked(stack, role, database, statement)
    with pytest.raises(NO_RIGHT):
        await asked(stack, role, other, "SELECT 1")


async def test_the_owner_of_one_database_cannot_enter_the_other(stack: Stack) -> None:
    await asked(stack, "sender_owner", "sender", "CREATE TABLE mine (n int); DROP TABLE mine")
    with pytest.raises(NO_RIGHT):
        await asked(stack, "sender_owner", "status", "SELECT 1")
