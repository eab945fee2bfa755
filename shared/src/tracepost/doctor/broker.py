"""Looks at RabbitMQ: over AMQP as the services do, and over the management API for what AMQP does not show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import aio_pika
import aiohttp
from aio_pika.exceptions import AMQPError
from yarl import URL

from tracepost.doctor.declared import Found, consumers, differences
from tracepost.doctor.findings import Finding
from tracepost.runner import Unavailable
from tracepost.topology import refused

TIMEOUT = 10.0
OLDEST = (3, 10)

Answer = TypeVar("Answer")


async def examine(amqp_url: str, management_url: str | None = None) -> list[Finding]:
    """Whether it can be used and has what the services need; a management URL is guessed where none is given."""
    found = [await _reached(amqp_url)]
    url, vhost = URL(amqp_url), URL(amqp_url).path.removeprefix("/") or "/"
    management = management_url or str(url.with_scheme("http").with_port(15672).with_path(""))
    try:
        async with _session(management) as (session, base):
            found += [_version(await _asked(session, base / "overview")), await _alarms(session, base)]
        queues, declared = await _declared(management, vhost)
    except OSError as error:
        remedy = "give --management-url http://user:password@host:15672; the plugin rabbitmq_management must be on"
        return [*found, Finding("management API", "error", str(error), remedy)]
    return found + differences(declared) + consumers(queues)


async def topology(management_url: str, vhost: str) -> list[Finding]:
    """What the virtual host has, held against what it should have; OSError when the API cannot be asked."""
    _, declared = await _declared(management_url, vhost)
    return differences(declared)


async def managed(work: Awaitable[Answer], management_url: str) -> Answer:
    """Wait for work at the management API; Unavailable or PermissionError tells why it failed, and the remedy."""
    try:
        return await work
    except (OSError, aiohttp.ClientError) as error:
        where = URL(management_url).with_user(None)
        remedy = "check --management-url, its user and password, and that the plugin rabbitmq_management is on"
        words = f"RabbitMQ's management API at {where}: {error}; {remedy}"
        raise (PermissionError if isinstance(error, PermissionError) else Unavailable)(words) from error


async def _reached(amqp_url: str) -> Finding:
    check = f"RabbitMQ at {URL(amqp_url).host}"
    remedy = (
        "check AMQP_URL: host, port, user, password and virtual host; see that the server runs and the user may use it"
    )
    try:
        connection = await aio_pika.connect(amqp_url, timeout=TIMEOUT)
    except (AMQPError, OSError, TimeoutError) as error:
        return Finding(check, "error", f"cannot be used: {error or type(error).__name__}", remedy)
    await connection.close()
    return Finding(check, "ok", "takes our user")


def _version(overview: Any) -> Finding:
    version = str(overview["rabbitmq_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return Finding("RabbitMQ's version", "error", version, "upgrade it to 3.10 or later")
    return Finding("RabbitMQ's version", "ok", version)


async def _alarms(session: aiohttp.ClientSession, base: URL) -> Finding:
    async with session.get(base / "health/checks/alarms") as response:
        told = await response.json()
    if response.status == 503:
        resources = ", ".join(sorted({each["resource"] for each in told.get("alarms", ())})) or str(told.get("reason"))
        remedy = "free some (drain queues, add disk or memory): until then nobody can publish"
        return Finding("alarms", "error", f"RabbitMQ runs short of {resources}", remedy)
    return Finding("alarms", "ok", "none")


async def _declared(management_url: str, vhost: str) -> tuple[list[Any], Found]:
    async with _session(management_url) as (session, base):
        rooms = ("exchanges", "queues", "bindings", "policies")
        path = quote(vhost, safe="")
        lists = {name: await _asked(session, base.joinpath(name, path, encoded=True)) for name in rooms}
    return lists["queues"], Found(**lists)


@asynccontextmanager
async def _session(management_url: str) -> AsyncIterator[tuple[aiohttp.ClientSession, URL]]:
    """A session with the user's rights, and the address of the API; OSError when it gives no answer."""
    url = URL(management_url)
    headers = {"Authorization": aiohttp.encode_basic_auth(url.user or "guest", url.password or "guest")}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(TIMEOUT)) as session:
            yield session, url.with_user(None).with_path("/api")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(str(error) or type(error).__name__) from error


async def _asked(session: aiohttp.ClientSession, url: URL) -> Any:
    async with session.get(url) as response:
        if response.status == 404:
            raise OSError(f"there is no virtual host {url.name!r}; name one that exists")
        if response.status >= 400:
            raise refused(response.status, await response.text())
        return await response.json()
