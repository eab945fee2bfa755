"""bounce-ingest as a whole, run in the test's own process on real servers: hand it mail, ask its API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aio_pika
import aiohttp
import aiosmtplib

from bounce_ingest.app import service
from bounce_ingest.settings import BounceIngestSettings
from local_stack.processes import free_port
from local_stack.reports import delivery_report, feedback_report
from tests.conftest import KEYRING, eventually
from tests.running import ALL as ALL
from tests.running import CLIENTS, TOKEN_KEYS
from tests.running import SHOP as SHOP
from tracepost import events, tokens, topology
from tracepost.events import AnyEvent
from tracepost.http import Check
from tracepost.tokens import Keyring

HOST, DOMAIN = "127.0.0.1", "bounces.example.test"
RECIPIENT = "r@example.test"
ORIGINAL = b"From: s@example.test\r\nMessage-ID: <x@example.test>\r\n\r\nHello\r\n"


@dataclass(frozen=True)
class Bouncing:
    """A running bounce-ingest."""

    settings: BounceIngestSettings
    checks: dict[str, Check]
    session: aiohttp.ClientSession
    broker: str

    async def send(self, mail: bytes, *recipients: str) -> None:
        """By SMTP; aiosmtplib's exceptions where it is refused."""
        await send(self.settings.smtp_port, mail, *recipients)

    async def ask(self, method: str, path: str, told: object = None, key: str = ALL, **query: Any) -> Any:
        """The answer's JSON; AssertionError for anything but a success."""
        status, answer = await self.answer(method, path, told, key, **query)
        assert status < 300, answer
        return answer

    async def answer(
        self, method: str, path: str, told: object = None, key: str = ALL, **query: Any
    ) -> tuple[int, Any]:
        """The status and the JSON."""
        url = f"http://{HOST}:{self.settings.api_port}/v1{path}"
        headers, params = {"Authorization": f"Bearer {key}"}, {name: str(value) for name, value in query.items()}
        async with self.session.request(method, url, json=told, headers=headers, params=params) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def held(self, **query: Any) -> list[dict[str, Any]]:
        """What is in quarantine, the newest first."""
        reports: list[dict[str, Any]] = (await self.ask("GET", "/quarantine", **query))["reports"]
        return reports


def settings_for(amqp_url: str, database_url: str, **more: object) -> BounceIngestSettings:
    """Settings for these servers, on free ports."""
    own = {
        "amqp_url": amqp_url,
        "database_url": database_url,
        "token_keys": TOKEN_KEYS,
        "api_keys": json.dumps(CLIENTS),
        "api_port": free_port(),
        "smtp_port": free_port(),
        "bounce_domain": DOMAIN,
        "parsers": 1,
    }
    return BounceIngestSettings.model_validate({**own, **more})


@asynccontextmanager
async def bouncing(amqp_url: str, database_url: str, **more: object) -> AsyncIterator[Bouncing]:
    """The service, ready but for what is the matter with a Maildir."""
    settings, checks = settings_for(amqp_url, database_url, **more), dict[str, Check]()

    async def ready() -> bool:
        return not any([await check() for name, check in checks.items() if not name.startswith("maildir")])

    async with service(settings, checks), aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        await eventually(ready)
        yield Bouncing(settings, checks, session, amqp_url)


async def send(port: int, mail: bytes, *recipients: str) -> None:
    """One mail from the null sender."""
    async with aiosmtplib.SMTP(hostname=HOST, port=port, start_tls=False) as client:
        await client.sendmail("", recipients, mail)


def return_path(message_id: UUID, recipient: str = RECIPIENT, keyring: Keyring = KEYRING) -> str:
    """The address that reports about this delivery come to."""
    return f"{tokens.to_local_part(keyring.return_path(message_id, 0, recipient))}@{DOMAIN}"


def bounce(path: str = "", recipient: str = RECIPIENT, original: bytes = ORIGINAL) -> bytes:
    """A report that there is no such user."""
    return delivery_report(original, path, recipient, "5.1.1", "550 5.1.1 User unknown")


def complaint(path: str = "", recipient: str = RECIPIENT, original: bytes = ORIGINAL) -> bytes:
    """A feedback report of abuse."""
    return feedback_report(original, path, recipient)


async def published(url: str, count: int) -> list[AnyEvent]:
    """What waits for status-store; returns when there are so many."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(topology.STATUS_STORE_EVENTS.name)
        found: list[AnyEvent] = []

        async def look() -> bool:
            while message := await queue.get(no_ack=True, fail=False):
                body = json.loads(message.body)
                batch = body if isinstance(body, list) else [body]
                found.extend(events.decode(json.dumps(each)) for each in batch)
            return len(found) >= count

        await eventually(look)
        return found
