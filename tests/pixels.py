"""The pixel in this process or as one of its own, people who open mails, and what the broker hears of it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import aiohttp

from local_stack.processes import Process, free_port, running, wait_for_port
from local_stack.stack import HOST
from pixel.answers import GIF
from pixel.app import service
from pixel.records import decoded
from pixel.settings import PixelSettings
from tests.conftest import eventually
from tests.unit.samples import incoming
from tracepost import events, tokens, topology
from tracepost.broker import EVENTS
from tracepost.events import AnyEvent, Event, Opened
from tracepost.tokens import Keyring

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"  # nobody listens there
THUNDERBIRD = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0"


@asynccontextmanager
async def serving(amqp_url: str, token_keys: str, spool: Path, **told: Any) -> AsyncIterator[str]:
    """A pixel's URL; connected, if its broker is anywhere."""
    told = {"amqp_url": amqp_url, "token_keys": token_keys, "port": free_port(), "spool": spool, **told}
    settings = PixelSettings.model_validate(told)
    checks: dict[str, Any] = {}

    async def connected() -> bool:
        return not await checks["publisher"]()

    async with service(settings, checks):
        if amqp_url != NOWHERE:
            await eventually(connected)
        yield f"http://{HOST}:{settings.port}"


@dataclass(frozen=True)
class Running:
    """A pixel as a process of its own."""

    url: str
    admin: str
    process: Process

    async def ready(self) -> bool:
        """Whether it says so."""
        with suppress(aiohttp.ClientConnectionError):
            async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/readyz") as response:
                return response.status == 200
        return False

    async def counted(self, sample: str) -> float:
        """What its metrics say."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/metrics") as response:
            lines = (await response.text()).splitlines()
        found = [float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample]
        assert len(found) < 2, f"{sample} is told {len(found)} times"
        return sum(found)


@asynccontextmanager
async def started(amqp_url: str, token_keys: str, folder: Path, **told: object) -> AsyncIterator[Running]:
    """A pixel as a process of its own, which listens but need not be ready; its log and its spool are in the folder."""
    port, admin = free_port(), free_port()
    told = {"PORT": port, "ADMIN_PORT": admin, "SPOOL": folder / "spool"} | told
    env = os.environ | {f"TRACEPOST_PIXEL_{name}": str(value) for name, value in told.items()}
    env |= {"TRACEPOST_AMQP_URL": amqp_url, "TRACEPOST_TOKEN_KEYS": token_keys}
    async with running("pixel", [sys.executable, "-m", "pixel"], env=env, log=folder / "pixel.log") as process:
        await wait_for_port(HOST, port, process, timeout=30)
        yield Running(f"http://{HOST}:{port}", f"http://{HOST}:{admin}", process)


def path(keyring: Keyring, message_id: UUID, recipient_no: int = 0, flags: int = tokens.TRACK_FULL) -> str:
    """Of a delivery's image."""
    return f"/o/{tokens.to_url(keyring.pixel(message_id, recipient_no, flags))}.gif"


async def look(session: aiohttp.ClientSession, url: str, agent: str = THUNDERBIRD) -> None:
    """Open a mail: the image has to come."""
    async with session.get(url, headers={"User-Agent": agent}) as response:
        assert (response.status, await response.read()) == (200, GIF)


async def published(amqp_url: str) -> list[AnyEvent]:
    """What the broker has for status-store, taken out of the queue."""
    found: list[AnyEvent] = []
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(topology.STATUS_STORE_EVENTS.name)
        while message := await queue.get(no_ack=True, fail=False):
            found += _read(EVENTS.decode(incoming(message.body, message.content_type)))
    return found


def _read(elements: Iterable[object]) -> Iterable[AnyEvent]:
    for element in elements:
        assert isinstance(element, Event), element
        yield element


def spooled(folder: Path) -> list[AnyEvent]:
    """What the files of the spool hold, the oldest first."""
    files = sorted(folder.glob("*.spool"))
    return [events.decode(body) for file in files for body in decoded(file.read_bytes()).bodies]


def verdicts(found: Iterable[AnyEvent]) -> list[str]:
    """Of opens, sorted."""
    return sorted(each.data.verdict for each in found if isinstance(each.data, Opened))
