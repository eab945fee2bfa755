"""A stack whose servers and services can be stopped, killed, held up and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
from yarl import URL

from local_stack import binaries
from local_stack.postgres import PostgresServer
from local_stack.processes import exclusive, running
from local_stack.rabbitmq import RabbitNode
from local_stack.stack import SERVICES, Servers, Stack, running_stack, unready
from pixel.settings import PixelSettings
from tests.conftest import eventually
from tracepost.postgres import Pool
from tracepost.tokens import Keyring

READY_SECONDS = 60.0
EXIT_SECONDS = 40.0

# Short, so that what a killed sender held is taken up again while a test waits.
SETTINGS = {
    "TRACEPOST_SENDER_LEASE_SECONDS": "3",
    "TRACEPOST_SENDER_DOUBT_SECONDS": "4",
    "TRACEPOST_SENDER_RETRY_MINUTES": "0.02",
    "TRACEPOST_BOUNCE_INGEST_CONFIRM_WITHIN": "5",
}


DATABASES = [database for _, database in SERVICES.values() if database]


@dataclass
class Site:
    """The stack, the nodes that it runs on, and a supervisor's hold on its services."""

    stack: Stack
    node: RabbitNode
    database: PostgresServer
    folder: Path
    started: AsyncExitStack
    tables: dict[str, Pool]
    starts: int = 0
    told: dict[str, tuple[int, str]] = field(default_factory=dict)  # message id: the newest version and status
    surprises: list[str] = field(default_factory=list)  # services that ended by themselves
    answered: set[str] = field(default_factory=set)
    known: set[UUID] = field(default_factory=set)  # what any run has published

    @property
    def keyring(self) -> Keyring:
        """What the services sign with, so that the load can play recipients."""
        return PixelSettings.model_validate({"token_keys": self.stack.environment["TRACEPOST_TOKEN_KEYS"]}).keyring()

    async def start(self, service: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a service that has ended, with the stack's environment and more."""
        self.starts += 1
        log = self.folder / f"{service}.{self.starts}.log"
        env = self.stack.environment | dict(environment or {})
        process = running(service, [sys.executable, "-m", SERVICES[service][0]], env=env, log=log, stop_timeout=30)
        self.stack.processes[service] = await self.started.enter_async_context(process)

    def signal(self, service: str, number: Signals) -> None:
        """Send a signal to a service."""
        with suppress(ProcessLookupError):
            os.kill(self.stack.processes[service].pid, number)

    async def ended(self, service: str, within: float = EXIT_SECONDS) -> int:
        """The exit code of a service, once it has ended; TimeoutError if it does not."""
        async with asyncio.timeout(within):
            return await self.stack.processes[service].wait()

    async def heal(self, service: str) -> None:
        """Start a service again that has ended by itself, as a supervisor does."""
        code = self.stack.processes[service].child.returncode
        if code is not None:
            if code != os.EX_UNAVAILABLE:  # the honest end of one that started without a database
                self.surprises.append(f"{service} ended with exit code {code}")
            await self.start(service)

    async def until_ready(self, *services: str, within: float = READY_SECONDS) -> float:
        """Wait until these services, or all, are ready; answers the seconds that it took."""
        began = time.monotonic()
        for service in services or SERVICES:
            await eventually(partial(self._is_ready, service), within)
        return time.monotonic() - began

    async def _is_ready(self, service: str) -> bool:
        fault = await unready(self.stack, service)
        assert not fault, f"{service}: {fault}"
        return True

    async def until_unready(self, service: str, words: str, within: float = 20) -> str:
        """Wait until a service's own word on its readiness holds these words."""

        async def says_so() -> str:
            fault = await unready(self.stack, service)
            assert fault, f"{service} says that it is ready"
            assert words in fault, f"{service} says {fault}"
            return fault

        return await eventually(says_so, within)

    async def close_connections(self) -> None:
        """Close every connection to RabbitMQ, as an administrator does."""
        await self.control("close_all_connections", "--global", "a test of faults")

    async def delete_queue(self, name: str) -> None:
        """Delete a queue of the standard virtual host."""
        url = URL(self.node.broker.management_url)
        headers = {"Authorization": aiohttp.encode_basic_auth(url.user or "", url.password or "")}
        target = url.with_user(None).with_path(f"/api/queues/%2F/{name}", encoded=True)
        async with aiohttp.ClientSession(headers=headers) as session, session.delete(target) as response:
            response.raise_for_status()

    @asynccontextmanager
    async def memory_alarm(self) -> AsyncIterator[None]:
        """RabbitMQ believes that it is out of memory: it reads nothing more from whoever publishes."""
        await self.control("set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            yield
        finally:
            await self.control("set_vm_memory_high_watermark", "0.4")

    async def messages(self) -> dict[str, int]:
        """How many messages each queue of the topology holds, ready or not yet acknowledged."""
        lines = (await self.control("list_queues", "name", "messages", "--quiet", "--no-table-headers")).splitlines()
        counts = dict(line.split("\t") for line in lines if "\t" in line)
        return {name: int(count) for name, count in counts.items() if not name.startswith("faults.")}

    async def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints."""
        process = await asyncio.create_subprocess_exec(
            binaries.find("rabbitmqctl"), *arguments, env=self.node.environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, f"rabbitmqctl {arguments} failed: {output.decode()}"
        return output.decode()

    async def fetch(self, database: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask a service's own tables."""
        rows: list[asyncpg.Record] = await self.tables[database].fetch(sql, *arguments)
        return rows

    async def pairs(self, database: str, sql: str, *arguments: object) -> dict[Any, Any]:
        """The same for rows of two columns."""
        return {row[0]: row[1] for row in await self.fetch(database, sql, *arguments)}


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """A new stack on new servers, with nothing of an earlier run in them."""
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / "rabbitmq.lock"):  # not under the feet of another run
        for name in ("rabbitmq", "spool"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for log in folder.glob("*.log*"):
            log.unlink()
    binaries.ensure(print)
    node, database = RabbitNode(folder, print), PostgresServer(folder, print)
    await asyncio.gather(node.start(), database.start())
    try:
        await _drop_databases(database.url)
        on = Servers(node.broker, database.url)
        async with running_stack(folder, print, on=on, settings=SETTINGS) as stack, AsyncExitStack() as started:
            tables = {name: await started.enter_async_context(_pool(database.url, name)) for name in DATABASES}
            yield Site(stack, node, database, folder, started, tables)
    finally:
        await node.stop()
        await database.stop()


@asynccontextmanager
async def _pool(url: str, name: str) -> AsyncIterator[Pool]:
    pool = await asyncpg.create_pool(f"{url}/{name}", min_size=0, max_size=2)
    try:
        yield pool
    finally:
        pool.terminate()


async def _drop_databases(url: str) -> None:
    connection = await asyncpg.connect(f"{url}/postgres")
    for name in DATABASES:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await connection.close()


TERMINATE, KILL, HALT, GO_ON = signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT
