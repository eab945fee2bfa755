"""All of Tracepost on this machine: servers, topology, services and the simulator, started in order."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from local_stack import binaries
from local_stack.postgres import postgres
from local_stack.processes import Process, free_port, running, wait_for_port, wait_until
from local_stack.rabbitmq import Broker, rabbitmq
from tracepost import topology

HOST = "127.0.0.1"
BOUNCE_DOMAIN = "bounces.tracepost.test"
START_TIMEOUT = 60.0
# Short at first, so that one sees a mail tried again; then ever longer, for what is deferred for good.
RETRY_MINUTES = "0.02,0.02,0.05,0.2,1,5,15"

# Module and database of each service, in the order of their start: whoever consumes is there before whoever sends.
SERVICES = {
    "status-store": ("status_store", "status"),
    "bounce-ingest": ("bounce_ingest", "bounces"),
    "pixel": ("pixel", None),
    "sender": ("sender", "sender"),
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Servers:
    """Where RabbitMQ and PostgreSQL are."""

    broker: Broker
    postgres_url: str


@dataclass(frozen=True)
class Stack:
    """A running stack: where to reach it, and its processes by name."""

    servers: Servers
    environment: dict[str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def query_url(self) -> str:
        """status-store's API."""
        return f"http://{HOST}:{self.environment['TRACEPOST_STATUS_STORE_API_PORT']}/v1"

    @property
    def console_url(self) -> str:
        """Where people look."""
        return self.query_url.removesuffix("v1")

    @property
    def sender_url(self) -> str:
        """The sender's API."""
        return f"http://{HOST}:{self.environment['TRACEPOST_SENDER_API_PORT']}/v1"

    @property
    def bounce_ingest_url(self) -> str:
        """bounce-ingest's API."""
        return f"http://{HOST}:{self.environment['TRACEPOST_BOUNCE_INGEST_API_PORT']}/v1"

    @property
    def mailbox_url(self) -> str:
        """What the simulator has taken, and what it did about it."""
        return f"http://{HOST}:{self.environment['SIMULATOR_HTTP_PORT']}/mailbox"

    @property
    def addresses(self) -> dict[str, str]:
        """What a user of the stack may want to reach."""
        return {
            "RabbitMQ": self.servers.broker.amqp_url,
            "RabbitMQ management": self.servers.broker.management_url,
            "PostgreSQL": self.servers.postgres_url,
            "console": self.console_url,
            "status-store": self.query_url,
            "sender": self.sender_url,
            "bounce-ingest": self.bounce_ingest_url,
            **{f"{service} admin": self.admin_url(service) for service in SERVICES},
            "simulator (SMTP)": self.environment["TRACEPOST_SENDER_RELAYS"],
            "simulator (mailbox)": self.mailbox_url,
        }

    def admin_url(self, service: str) -> str:
        """A service's admin port."""
        name = service.upper().replace("-", "_")
        return f"http://{HOST}:{self.environment[f'TRACEPOST_{name}_ADMIN_PORT']}"


@asynccontextmanager
async def servers(folder: Path, say: Say) -> AsyncIterator[Servers]:
    """The servers that the environment names, else private ones."""
    amqp, management, database = (
        os.environ.get(f"TRACEPOST_{name}", "") for name in ("AMQP_URL", "AMQP_MANAGEMENT_URL", "POSTGRES_URL")
    )
    named = bool(amqp and management)
    if not (named and database):
        binaries.ensure(say)
    async with AsyncExitStack() as started:
        url = database or await started.enter_async_context(postgres(folder, say))
        broker = Broker(amqp, management) if named else await started.enter_async_context(rabbitmq(folder, say))
        yield Servers(broker, url)


@asynccontextmanager
async def running_stack(
    folder: Path, say: Say, *, on: Servers | None = None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """Everything, ready; stopped in reverse order. `on` names servers that run already, `settings` adds to ours."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    async with nullcontext(on) if on else servers(folder, say) as where, AsyncExitStack() as processes:
        await to_its_end(topology.apply(where.broker.management_url))
        for _, database in SERVICES.values():
            if database:
                await create_database(where.postgres_url, database)
        stack = Stack(where, _environment(where, folder) | dict(settings or {}))
        await _start_simulator(stack, folder, processes)
        for service in SERVICES:
            await _start(stack, service, folder, processes)
        await asyncio.gather(*(_until_ready(stack, service, say) for service in SERVICES))
        say(f"All is ready ({time.monotonic() - began:.1f} s); logs are in {folder}")
        yield stack


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Whoever cancels us waits: a node that is stopped while it declares a queue never serves that queue again."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait([task])


async def create_database(server_url: str, name: str) -> None:
    """Create a database unless it is there."""
    connection = await asyncpg.connect(server_url + "/postgres")
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    except asyncpg.DuplicateDatabaseError:
        return
    finally:
        await connection.close()


def _environment(where: Servers, folder: Path) -> dict[str, str]:
    ports = [
        "SENDER_ADMIN",
        "PIXEL_ADMIN",
        "BOUNCE_INGEST_ADMIN",
        "STATUS_STORE_ADMIN",
        "SENDER_API",
        "STATUS_STORE_API",
        "BOUNCE_INGEST_API",
    ]
    ports += ["PIXEL", "BOUNCE_INGEST_SMTP"]
    chosen = {f"TRACEPOST_{name}_PORT": str(free_port()) for name in ports}
    console = f"http://{HOST}:{chosen['TRACEPOST_STATUS_STORE_API_PORT']}"
    return chosen | {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONUNBUFFERED": "1",
        "TRACEPOST_AMQP_URL": where.broker.amqp_url,
        "TRACEPOST_TOKEN_KEYS": _token_keys(folder / "token-keys"),
        "TRACEPOST_BOUNCE_DOMAIN": BOUNCE_DOMAIN,
        "TRACEPOST_SENDER_DATABASE_URL": f"{where.postgres_url}/sender",
        "TRACEPOST_STATUS_STORE_DATABASE_URL": f"{where.postgres_url}/status",
        "TRACEPOST_SENDER_RELAYS": f"{HOST}:{free_port()}",
        "TRACEPOST_BOUNCE_INGEST_DATABASE_URL": f"{where.postgres_url}/bounces",
        "TRACEPOST_SENDER_PIXEL_URL": f"http://{HOST}:{chosen['TRACEPOST_PIXEL_PORT']}",
        "TRACEPOST_PIXEL_SPOOL": str(folder / "spool"),
        "TRACEPOST_SENDER_RETRY_MINUTES": RETRY_MINUTES,
        # The console's pages call these two themselves.
        "TRACEPOST_STATUS_STORE_SENDER_URL": f"http://{HOST}:{chosen['TRACEPOST_SENDER_API_PORT']}",
        "TRACEPOST_STATUS_STORE_BOUNCE_INGEST_URL": f"http://{HOST}:{chosen['TRACEPOST_BOUNCE_INGEST_API_PORT']}",
        "TRACEPOST_SENDER_CORS_ORIGINS": console,
        "TRACEPOST_BOUNCE_INGEST_CORS_ORIGINS": console,
        "SIMULATOR_HTTP_PORT": str(free_port()),
    }


def _token_keys(file: Path) -> str:
    """Kept between runs, so that the links of earlier mails stay good."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as new:
            new.write("1:" + base64.b64encode(secrets.token_bytes(32)).decode())
    return file.read_text()


async def _start_simulator(stack: Stack, folder: Path, processes: AsyncExitStack) -> None:
    env = stack.environment
    _, _, port = env["TRACEPOST_SENDER_RELAYS"].rpartition(":")
    back = f"{HOST}:{env['TRACEPOST_BOUNCE_INGEST_SMTP_PORT']}"
    argv = [sys.executable, "-m", "local_stack", "simulator", "--port", port, "--returns-to", back]
    argv += ["--http-port", env["SIMULATOR_HTTP_PORT"]]
    process = await processes.enter_async_context(running("simulator", argv, env=env, log=folder / "simulator.log"))
    stack.processes["simulator"] = process
    await wait_for_port(HOST, int(port), process, START_TIMEOUT)


async def _start(stack: Stack, service: str, folder: Path, processes: AsyncExitStack) -> None:
    argv = [sys.executable, "-m", SERVICES[service][0]]
    log = folder / f"{service}.log"
    # Longer than the services' own limit for their drain.
    started = running(service, argv, env=stack.environment, log=log, stop_timeout=30)
    stack.processes[service] = await processes.enter_async_context(started)


async def _until_ready(stack: Stack, service: str, say: Say) -> None:
    began = time.monotonic()
    process = stack.processes[service]

    async def ready() -> bool:
        return not await unready(stack, service)

    await wait_until(ready, process, START_TIMEOUT)
    say(f"{service} (pid {process.pid}, {time.monotonic() - began:.1f} s)")


async def unready(stack: Stack, service: str) -> str | None:
    """Why a service is not ready, by its own word."""
    process = stack.processes[service]
    if process.child.returncode is not None:
        return f"ended with exit code {process.child.returncode}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
            session.get(f"{stack.admin_url(service)}/readyz") as response,
        ):
            return None if response.status == 200 else await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"gives no answer on its admin port ({error!r})"
