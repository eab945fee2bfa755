"""status-store as a whole, run in the test's own process on real servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp

from local_stack.processes import free_port
from status_store.app import service
from status_store.settings import StatusStoreSettings
from tests.conftest import KEYRING, eventually
from tracepost import keys
from tracepost.broker import Publisher, publishing
from tracepost.events import AnyEvent
from tracepost.http import Check

TOKEN_KEYS = "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ALL, SHOP, OTHER = (keys.new(name) for name in ("all", "shop", "other"))
CLIENTS = [
    {"client": name, "app": app, "scopes": ["read", "send", "operate"], "hashes": [keys.hashed(key)]}
    for name, app, key in (("all", "*", ALL), ("shop", "shop", SHOP), ("other", "other", OTHER))
]


@dataclass(frozen=True)
class Running:
    """A running status-store: ask its API, publish events to it."""

    url: str
    session: aiohttp.ClientSession
    publisher: Publisher

    async def ask(self, method: str, path: str, told: object = None, key: str = SHOP, **query: Any) -> Any:
        """The answer's JSON; AssertionError for anything but a success."""
        status, answer = await self.answer(method, path, told, key, **query)
        assert status < 300, answer
        return answer

    async def answer(
        self, method: str, path: str, told: object = None, key: str = SHOP, **query: Any
    ) -> tuple[int, Any]:
        """The status and the JSON."""
        headers, params = {"Authorization": f"Bearer {key}"}, {name: str(value) for name, value in query.items()}
        async with self.session.request(method, self.url + path, json=told, headers=headers, params=params) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def publish(self, *events: AnyEvent) -> None:
        """By way of the queue; returns when all are folded."""
        for each in events:
            await self.publisher.publish(each)
        await eventually(partial(self._folded, events))

    async def _folded(self, events: tuple[AnyEvent, ...]) -> bool:
        for each in events:
            status, told = await self.answer("GET", f"/messages/{each.message_id}/events", key=ALL)
            if status != 200 or str(each.id) not in json.dumps(told):
                return False
        return True


@asynccontextmanager
async def running(broker: str, database: str, **settings: Any) -> AsyncIterator[Running]:
    """The service, ready."""
    checks: dict[str, Check] = {}
    port = free_port()
    told = StatusStoreSettings(
        amqp_url=broker,
        database_url=database,
        token_keys=TOKEN_KEYS,
        api_keys=json.dumps(CLIENTS),
        api_port=port,
        **settings,
    )
    assert told.keyring().address_key("a@example.org") == KEYRING.address_key("a@example.org")
    async with (
        service(told, checks),
        publishing(broker) as publisher,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
    ):
        await eventually(partial(_ready, checks))
        yield Running(f"http://127.0.0.1:{port}/v1", session, publisher)


async def _ready(checks: dict[str, Check]) -> bool:
    return bool(checks) and not any([await check() for check in checks.values()])
