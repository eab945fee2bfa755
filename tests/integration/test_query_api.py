"""The query API against a real PostgreSQL: a message, its timeline, why a delivery has its status, and who may ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from uuid_utils.compat import uuid7

from status_store import housekeeping
from status_store.api import api
from status_store.record import record
from status_store.store import Store
from tests.unit.samples import DATA
from tracepost import keys, partitions, postgres
from tracepost.events import Accepted, AnyEvent, Bounced, Delivered, Opened, event

ALL, SHOP, OTHER, SENDER = (keys.new(name) for name in ("all", "shop", "other", "sender"))
CLIENTS = [
    {"client": "all", "app": "*", "scopes": ["read"], "hashes": [keys.hashed(ALL)]},
    {"client": "shop", "app": "shop", "scopes": ["read"], "hashes": [keys.hashed(SHOP)]},
    {"client": "other", "app": "other", "scopes": ["read"], "hashes": [keys.hashed(OTHER)]},
    {"client": "sender", "app": "shop", "scopes": ["send"], "hashes": [keys.hashed(SENDER)]},
]
Api = TestClient[web.Request, web.Application]


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with postgres.connected(database, "status_store") as pool:
        store = Store(pool, retention=13)
        await partitions.keep(pool, housekeeping.TABLES, store.months)
        yield store


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Api]:
    async with TestClient(TestServer(api(store, keys.read(json.dumps(CLIENTS))))) as client:
        yield client


async def ask(client: Api, path: str, key: str = SHOP, **headers: str) -> tuple[int, Any, str | None]:
    async with client.get(f"/v1/{path}", headers={"Authorization": f"Bearer {key}", **headers}) as answer:
        told = await answer.json(content_type=None) if answer.status != 304 else None
        return answer.status, told, answer.headers.get("ETag")


def returned(message_id: UUID) -> list[AnyEvent]:
    """Accepted, delivered, opened by a person, returned."""
    [accepted] = [each for each in DATA if isinstance(each, Accepted)]
    accepted = accepted.model_copy(update={"app": "shop", "recipient_count": 1, "reference": f"T-{message_id}"})
    bounce = Bounced(
        bounce_class="hard",
        category="unknown_recipient",
        rule="postfix.user-unknown",
        smtp_code=550,
        enhanced_code="5.1.1",
        diagnostic="550 5.1.1 <ann@example.org>: Recipient address rejected",
        remote_mta="mx.example.org",
        origin="dsn",
    )
    told = (accepted, Delivered(origin="smtp", response="250 Ok"), Opened(verdict="person", rule="x"), bounce)
    return [event("test", message_id, 0, each) for each in told]


async def test_why_names_the_deciding_event_its_words_and_what_lost_to_it(client: Api, store: Store) -> None:
    message_id = uuid7()
    history = returned(message_id)
    await record(store, history)
    status, told, _ = await ask(client, f"messages/{message_id}/deliveries/0/why")
    assert status == 200
    why = told["why"]
    assert (told["message_id"], told["recipient_no"], why["status"]) == (str(message_id), 0, "hard_bounce")
    assert why["rule"] == "returned: the address is dead"
    assert why["deciding"]["event_id"] == str(history[3].id)
    assert "Recipient address rejected" in json.dumps(why["deciding"])
    lost = {each["event_id"]: each for each in why["others"]}
    assert lost.keys() == {str(each.id) for each in history[:3]}


async def test_a_message_its_version_and_its_timeline(client: Api, store: Store) -> None:
    message_id = uuid7()
    history = returned(message_id)
    await record(store, history)
    status, told, etag = await ask(client, f"messages/{message_id}")
    assert (status, told["status"], told["shown_as"]) == (200, "hard_bounce", "Delivery issue: hard bounce")
    [delivery] = told["deliveries"]
    assert delivery["delivered_at"]
    assert delivery["opens"]["person"]["count"] == 1
    assert (await ask(client, f"messages/{message_id}", **{"If-None-Match": etag or ""}))[0] == 304
    _, timeline, _ = await ask(client, f"messages/{message_id}/events")
    assert [each["id"] for each in timeline["events"]] == [str(each.id) for each in history]
    _, found, _ = await ask(client, f"messages?status=hard_bounce&reference=T-{message_id}")
    assert [each["message_id"] for each in found["messages"]] == [str(message_id)]


@pytest.mark.parametrize("path", ["messages/{}", "messages/{}/events", "messages/{}/deliveries/0/why"])
async def test_a_message_is_shown_to_its_app_alone(client: Api, store: Store, path: str) -> None:
    message_id = uuid7()
    await record(store, returned(message_id))
    answers = {key: (await ask(client, path.format(message_id), key))[0] for key in (ALL, SHOP, OTHER, SENDER, "none")}
    assert list(answers.values()) == [200, 200, 404, 403, 401]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"messages/{UUID(int=7)}", 404, "unknown-message"),
        (f"messages/{UUID(int=7)}/deliveries/0/why", 404, "unknown-message"),
        ("messages/nonsense", 400, "invalid-id"),
        (f"messages/{UUID(int=7)}/deliveries/256/why", 400, "invalid-number"),
        (f"messages/{UUID(int=7)}/deliveries/{'9' * 5000}/why", 400, "invalid-number"),
        (f"messages/{UUID(int=7)}/deliveries/x/why", 400, "invalid-number"),
    ],
)
async def test_what_cannot_be_found_is_told_apart(client: Api, path: str, status: int, code: str) -> None:
    told = await ask(client, path)
    assert (told[0], told[1]["code"]) == (status, code)
