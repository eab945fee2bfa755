"""Real servers for every test that needs them: started once by the local stack, with a room of its own for each."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from yarl import URL

from local_stack.stack import Servers, create_database
from local_stack.stack import servers as run_servers
from tracepost import topology
from tracepost.tokens import Keyring

ROOT = Path(__file__).parent.parent
DEADLINE = 15.0

Answer = TypeVar("Answer")


def room(name: str) -> Path:
    """A folder for servers; each of the processes that run tests side by side has one of its own."""
    return ROOT / ".local" / "-".join(filter(None, (name, os.environ.get("PYTEST_XDIST_WORKER"))))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Where tests run side by side: those of a file stay together, and those that share the whole stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "e2e" if file.startswith("tests/e2e/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """The hook by which pytest-xdist asks who hands out the tests."""
    return ByFile(config, log)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers() -> AsyncIterator[Servers]:
    """RabbitMQ and PostgreSQL, private to the tests."""
    async with run_servers(room("test"), print) as running:
        yield running


@pytest.fixture
async def broker(servers: Servers) -> AsyncIterator[str]:
    """The AMQP URL of a virtual host of its own with the topology in it."""
    async with virtual_host(servers) as url:
        yield url


@asynccontextmanager
async def virtual_host(servers: Servers) -> AsyncIterator[str]:
    """A virtual host that goes with the block."""
    name = f"test-{secrets.token_hex(4)}"
    management = servers.broker.management_url
    async with aiohttp.ClientSession(headers=_authorization(management)) as session:
        target = URL(management).with_user(None) / "api" / "vhosts" / name
        await (await session.put(target)).release()
        try:
            await topology.apply(management, name)
            yield str(URL(servers.broker.amqp_url).with_path(f"/{name}"))
        finally:
            await (await session.delete(target)).release()


def _authorization(management_url: str) -> dict[str, str]:
    url = URL(management_url)
    return {"Authorization": aiohttp.encode_basic_auth(url.user or "", url.password or "")}


@pytest.fixture
async def database(servers: Servers) -> AsyncIterator[str]:
    """The URL of an empty database of its own."""
    name = f"test_{secrets.token_hex(4)}"
    await create_database(servers.postgres_url, name)
    try:
        yield f"{servers.postgres_url}/{name}"
    finally:
        connection = await asyncpg.connect(f"{servers.postgres_url}/postgres")
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.close()


KEYRING = Keyring({1: bytes(range(32))})


@pytest.fixture
def keyring() -> Keyring:
    """The keys that `token_keys` writes."""
    return KEYRING


@pytest.fixture
def token_keys() -> str:
    """The value of TRACEPOST_TOKEN_KEYS for `keyring`."""
    return "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


async def eventually(look: Callable[[], Awaitable[Answer]], deadline: float = DEADLINE) -> Answer:
    """What `look` answers as soon as it is true; the last AssertionError, or one of our own, at the deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while True:
        try:
            if answer := await look():
                return answer
            assert loop.time() < end, f"{look} did not become true within {deadline:g} s"
        except AssertionError:
            if loop.time() >= end:
                raise
        await asyncio.sleep(0.02)
