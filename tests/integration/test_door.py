"""The sender's HTTP door against real servers: what it takes is in the queue, what it refuses says why."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aio_pika
import aiohttp
import pytest
from uuid_utils.compat import uuid7
from yarl import URL

from local_stack.processes import free_port
from sender.app import service
from sender.settings import SenderSettings
from tests.conftest import eventually
from tests.proxy import proxied
from tracepost import keys
from tracepost.http import Check

OLD, NEW, READER, OPERATOR = (keys.new(name) for name in ("helpdesk", "helpdesk", "reader", "operator"))
CLIENTS = [
    {
        "client": "helpdesk",
        "app": "helpdesk",
        "scopes": ["send"],
        "sender_domains": ["example.test"],
        "hashes": [keys.hashed(OLD), keys.hashed(NEW)],
    },
    {
        "client": "operator",
        "app": "helpdesk",
        "scopes": ["send", "override", "operate"],
        "sender_domains": ["*"],
        "hashes": [keys.hashed(OPERATOR)],
    },
    {"client": "reader", "app": "helpdesk", "scopes": ["read"], "hashes": [keys.hashed(READER)]},
]


@asynccontextmanager
async def serving(amqp_url: str, database: str, token_keys: str, **settings: Any) -> AsyncIterator[URL]:
    port = free_port()
    values = {
        "amqp_url": amqp_url,
        "database_url": database,
        "token_keys": token_keys,
        "api_port": port,
        "api_keys": json.dumps(CLIENTS),
        "relays": f"127.0.0.1:{free_port()}",
        "bounce_domain": "bounces.example.test",
        "pixel_url": "http://127.0.0.1",
        "status_url": "https://status.example.test",
        "publish_timeout": 5,
        **settings,
    }
    checks: dict[str, Check] = {}
    async with service(SenderSettings.model_validate(values), checks):

        async def ready() -> bool:
            return not any([await check() for check in checks.values()])

        await eventually(ready)
        yield URL(f"http://127.0.0.1:{port}/v1/messages")


@pytest.fixture
async def door(broker: str, database: str, token_keys: str) -> AsyncIterator[URL]:
    async with serving(broker, database, token_keys) as url:
        yield url


def request(**fields: Any) -> dict[str, Any]:
    return {"from": "Ann <ann@example.test>", "to": ["delivered@simulator.test"], "text": "Hello", **fields}


async def post(url: URL, body: Any, key: str | None = OLD, **headers: str) -> tuple[int, dict[str, Any], Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url, data=io.BytesIO(data), headers=authorization | {n.replace("_", "-"): v for n, v in headers.items()}
        ) as answer,
    ):
        return answer.status, await answer.json(content_type=None), answer.headers


async def test_what_is_taken_is_in_the_queue_for_the_clients_app(door: URL, broker: str) -> None:
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("tracepost.events", "accepted")
        message_id = str(uuid7())
        status, told, headers = await post(door, request(message_id=message_id))
        assert (status, told["message_id"]) == (202, message_id)
        assert told["rfc_message_id"] == f"<{message_id}@bounces.example.test>"
        assert headers["Location"] == f"https://status.example.test/v1/messages/{message_id}"

        async def accepted() -> Any:
            message = await queue.get(no_ack=True, fail=False)
            return json.loads(message.body) if message else None

        event = await eventually(accepted)
    assert (event["subject"], event["data"]["app"]) == (f"{message_id}/0", "helpdesk")


async def test_both_live_keys_are_known_and_a_third_is_not(door: URL) -> None:
    assert (await post(door, request(), NEW))[0] == 202
    for key in (None, keys.new("helpdesk"), OLD + "x"):
        status, told, headers = await post(door, request(), key)
        assert (status, told["code"], headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer")


async def test_a_key_without_the_scope_or_the_domain_is_refused(door: URL) -> None:
    status, told, _ = await post(door, request(), READER)
    assert (status, told["code"]) == (403, "forbidden")
    status, told, _ = await post(door, request(**{"from": "ann@elsewhere.test"}))
    assert (status, told["code"], told["errors"][0]["pointer"]) == (403, "sender-domain", "/from")


async def test_suppression_is_overridden_by_a_key_with_that_scope_alone(door: URL) -> None:
    asked = request(override_suppression="they called us")
    assert (await post(door, asked, OPERATOR))[0] == 202
    status, told, _ = await post(door, asked)
    assert (status, told["code"], told["errors"][0]["pointer"]) == (403, "override", "/override_suppression")


async def test_an_idempotency_key_stands_for_one_message(door: URL) -> None:
    first = await post(door, request(), Idempotency_Key="order-1")
    again = await post(door, request(), Idempotency_Key="order-1")
    other = await post(door, request(), Idempotency_Key="order-2")
    assert (first[0], again[0], other[0]) == (202, 202, 202)
    assert first[1] == again[1] != other[1]
    assert UUID(first[1]["message_id"]).version == 7
    status, told, _ = await post(door, request(text="Changed"), Idempotency_Key="order-1")
    assert (status, told["code"]) == (422, "idempotency-key")
    status, told, _ = await post(door, request(message_id=str(uuid7())), Idempotency_Key="order-3")
    assert (status, told["code"]) == (422, "idempotency-key")
    status, told, _ = await post(door, request(), Idempotency_Key="x" * 300)
    assert (status, told["code"]) == (422, "idempotency-key")


async def test_faults_are_named_as_over_the_queue(door: URL) -> None:
    status, told, headers = await post(door, request(subject=5, colour="red"))
    assert (status, headers["Content-Type"]) == (422, "application/problem+json")
    assert {fault["pointer"] for fault in told["errors"]} == {"/subject", "/colour"}
    assert (await post(door, b"{no JSON"))[0] == 422
    assert (await post(door, request()))[0] == 202
    status, told, _ = await post(door.with_query(lane="express"), request())
    assert (status, told["code"]) == (422, "invalid-lane")
    status, told, _ = await post(door, b'{"text": "' + b"x" * (5 * 1024 * 1024) + b'"}')
    assert (status, told["code"]) == (413, "request-entity-too-large")


async def test_without_a_confirm_the_answer_is_503(broker: str, database: str, token_keys: str) -> None:
    async with (
        proxied(broker) as (url, proxy),
        serving(url, database, token_keys, publish_timeout=0.5) as door,
    ):
        proxy.answering.clear()
        status, told, headers = await post(door, request())
        assert (status, told["code"], headers["Retry-After"]) == (503, "unavailable", "5")
        proxy.answering.set()
        assert (await post(door, request()))[0] == 202
