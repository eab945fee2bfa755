"""Dead letters against real servers: drained into the table, shown, replayed to where they were for, dropped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import aiohttp
import pytest
from uuid_utils.compat import uuid7
from yarl import URL

from local_stack.processes import free_port
from status_store.app import service
from status_store.settings import StatusStoreSettings
from tests.conftest import eventually
from tracepost import events, keys, topology
from tracepost.events import Delivered, event
from tracepost.http import Check

OPERATOR, READER = keys.new("operator"), keys.new("reader")
CLIENTS = [
    {"client": "operator", "app": "*", "scopes": ["operate", "read"], "hashes": [keys.hashed(OPERATOR)]},
    {"client": "reader", "app": "shop", "scopes": ["read"], "hashes": [keys.hashed(READER)]},
]


@pytest.fixture
async def api(broker: str, database: str, token_keys: str) -> AsyncIterator[URL]:
    async with serving(broker, database, token_keys) as url:
        yield url


@asynccontextmanager
async def serving(broker: str, database: str, token_keys: str) -> AsyncIterator[URL]:
    port = free_port()
    values = {
        "amqp_url": broker,
        "database_url": database,
        "token_keys": token_keys,
        "api_port": port,
        "api_keys": json.dumps(CLIENTS),
    }
    checks: dict[str, Check] = {}
    async with service(StatusStoreSettings.model_validate(values), checks):
        yield URL(f"http://127.0.0.1:{port}/v1")


async def ask(method: str, url: URL, key: str = OPERATOR) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.request(method, url) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def publish(broker: str, body: bytes, exchange: str, key: str, **properties: Any) -> None:
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        target = await channel.get_exchange(exchange)
        await target.publish(aio_pika.Message(body, **properties), key)


async def letters(api: URL, count: int) -> list[dict[str, Any]]:
    async def listed() -> Any:
        _, told = await ask("GET", api / "dead-letters")
        return told["dead_letters"] if len(told["dead_letters"]) >= count else None

    found = await eventually(listed)
    assert isinstance(found, list)
    return found


async def test_a_bad_event_is_kept_with_its_reason_and_can_be_replayed_and_dropped(api: URL, broker: str) -> None:
    await publish(broker, b"{}", topology.EVENTS, "delivered", content_type=events.EVENT_TYPE, user_id="guest")
    [listed] = await letters(api, 1)
    assert (listed["queue"], listed["code"], listed["size"]) == ("status-store.events", "invalid-event", 2)
    status, shown = await ask("GET", api / "dead-letters" / listed["id"])
    assert (status, shown["body"], shown["exchange"], shown["routing_key"]) == (
        200,
        "{}",
        "tracepost.events",
        "delivered",
    )
    assert {fault["pointer"] for fault in shown["problem"]["errors"]} >= {""}
    assert shown["app"] == "guest"

    status, replayed = await ask("POST", api / "dead-letters" / listed["id"] / "replay")
    assert status == 200
    assert replayed["replayed_at"]
    assert len(await letters(api, 2)) == 2  # it is no better than it was, and died again

    assert (await ask("DELETE", api / "dead-letters" / listed["id"]))[0] == 204
    assert (await ask("GET", api / "dead-letters" / listed["id"]))[0] == 404
    assert (await ask("POST", api / "dead-letters" / str(uuid7()) / "replay"))[0] == 404
    assert (await ask("GET", api / "dead-letters" / "no-uuid"))[0] == 404


async def test_a_replay_reaches_the_queue_that_it_was_for(api: URL, broker: str) -> None:
    good = event("sender", uuid7(), 0, Delivered(origin="smtp"))
    headers = {
        "tracepost-queue": "status-store.events",
        "tracepost-exchange": topology.EVENTS,
        "tracepost-routing-key": "delivered",
        "tracepost-code": "handler-failed",
    }
    await publish(
        broker,
        events.encode(good),
        topology.DEAD,
        "status-store.events",
        headers=headers,
        content_type=events.EVENT_TYPE,
    )
    [listed] = await letters(api, 1)
    await ask("POST", api / "dead-letters" / listed["id"] / "replay")

    async def stored() -> bool:
        return (await ask("GET", api / "messages" / str(good.message_id)))[0] == 200

    await eventually(stored)


async def test_a_letter_that_came_by_no_exchange_is_not_replayed(api: URL, broker: str) -> None:
    await publish(
        broker, b"\xff\x00", topology.DEAD, "bounce-ingest.smtp", headers={"tracepost-code": "not-understood"}
    )
    [listed] = await letters(api, 1)
    _, shown = await ask("GET", api / "dead-letters" / listed["id"])
    assert (shown["body"], shown["body_encoding"], shown["queue"]) == ("/wA=", "base64", "bounce-ingest.smtp")
    status, told = await ask("POST", api / "dead-letters" / listed["id"] / "replay")
    assert (status, told["code"]) == (409, "no-exchange")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"tracepost-problem": "no JSON \0", "tracepost-time": "never", "tracepost-queue": "a\0b"},
        {"x-death": [{"queue": "q", "reason": "delivery_limit", "routing-keys": []}], "nested": {"a": [1, None]}},
    ],
)
async def test_whatever_lies_in_the_queue_is_kept(api: URL, broker: str, headers: dict[str, Any]) -> None:
    await publish(broker, b"body", topology.DEAD, "somewhere", headers=headers)
    [listed] = await letters(api, 1)
    assert listed["size"] == 4


async def test_what_the_broker_set_apart_says_so(api: URL, broker: str) -> None:
    headers = {
        "x-first-death-queue": "sender.events",
        "x-first-death-reason": "delivery_limit",
        "x-first-death-exchange": topology.EVENTS,
        "x-death": [{"queue": "sender.events", "reason": "delivery_limit", "routing-keys": ["bounced"]}],
    }
    await publish(broker, b"body", topology.DEAD, "sender.events", headers=headers)
    [listed] = await letters(api, 1)
    told = listed["queue"], listed["code"], listed["exchange"], listed["routing_key"]
    assert told == ("sender.events", "delivery_limit", topology.EVENTS, "bounced")


async def test_lists_are_filtered_and_paged(api: URL, broker: str) -> None:
    for queue in ("a", "a", "b"):
        await publish(broker, str(uuid7()).encode(), topology.DEAD, queue)
    await letters(api, 3)
    _, only_a = await ask("GET", (api / "dead-letters").with_query(queue="a"))
    assert len(only_a["dead_letters"]) == 2
    _, first = await ask("GET", (api / "dead-letters").with_query(limit="2"))
    _, rest = await ask("GET", (api / "dead-letters").with_query(limit="2", cursor=first["cursor"]))
    assert len({each["id"] for each in first["dead_letters"] + rest["dead_letters"]}) == 3
    assert rest["cursor"] is None


async def test_keys_open_what_is_theirs(api: URL, broker: str) -> None:
    assert (await ask("GET", api / "dead-letters", READER))[0] == 403
    assert (await ask("GET", api / "dead-letters", "nobody"))[0] == 401
    good = event("sender", uuid7(), 0, Delivered(origin="smtp"))
    await publish(broker, events.encode(good), topology.EVENTS, "delivered", content_type=events.EVENT_TYPE)
    url = api / "messages" / str(good.message_id)

    async def stored() -> bool:
        return (await ask("GET", url))[0] == 200

    await eventually(stored)
    assert (await ask("GET", url, READER))[0] == 404  # it is nobody's yet
    assert (await ask("GET", api / "messages" / str(good.message_id) / "events", READER))[0] == 404
    _, listed = await ask("GET", api / "messages", READER)
    assert listed["messages"] == []
