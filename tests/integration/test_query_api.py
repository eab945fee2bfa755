"""The query API against a real PostgreSQL: a message, its timeline, why a delivery has its status, and who may ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from uuid_utils.compat import uuid7

from status_store import housekeeping, messages, search, sessions, views
from status_store.api import api
from status_store.feed import Feed
from status_store.issues import Issues
from status_store.live import Live
from status_store.logins import Logins
from status_store.queries import Queries
from status_store.record import record
from status_store.store import Store
from tests.conftest import KEYRING
from tests.unit.samples import ACCEPTED
from tracepost import keys, partitions, postgres
from tracepost.events import AnyEvent, Bounced, Delivered, Opened, event
from tracepost.http import CONSOLE_HEADER, SESSION_COOKIE

ALL, SHOP, OTHER, SENDER = (keys.new(name) for name in ("all", "shop", "other", "sender"))
CLIENTS = [
    {"client": "all", "app": "*", "scopes": ["read"], "hashes": [keys.hashed(ALL)]},
    {"client": "shop", "app": "shop", "scopes": ["read"], "hashes": [keys.hashed(SHOP)]},
    {"client": "other", "app": "other", "scopes": ["read"], "hashes": [keys.hashed(OTHER)]},
    {"client": "sender", "app": "shop", "scopes": ["send"], "hashes": [keys.hashed(SENDER)]},
]
DESK = "https://desk.example.org"
Api = TestClient[web.Request, web.Application]


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with postgres.connected(database, "status_store") as pool:
        store = Store(pool, retention=13, keyring=KEYRING)
        await partitions.keep(pool, housekeeping.TABLES, store.months)
        yield store


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Api]:
    queries, feed, clients = Queries(store.pool), Feed(store.pool), keys.read(json.dumps(CLIENTS), KEYRING)
    live = Live(feed.now, feed.after)
    routes = (
        *messages.routes(queries, clients),
        *search.routes(queries, Issues(store.pool), KEYRING, clients),
        *views.routes(queries, live, clients, KEYRING, timedelta(hours=1)),
        *sessions.routes(Logins(store.pool), clients),
    )
    async with queries.running(), TestClient(TestServer(api((DESK,), *routes))) as client:
        yield client


async def ask(client: Api, path: str, key: str = SHOP, **headers: str) -> tuple[int, Any, str | None]:
    async with client.get(f"/v1/{path}", headers={"Authorization": f"Bearer {key}", **headers}) as answer:
        told = await answer.json(content_type=None) if answer.status != 304 else None
        return answer.status, told, answer.headers.get("ETag")


def returned(message_id: UUID) -> list[AnyEvent]:
    """Accepted, delivered, opened by a person, returned."""
    accepted = ACCEPTED.model_copy(update={"app": "shop", "recipient_count": 1, "reference": f"T-{message_id}"})
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


async def test_a_badge_is_shown_to_who_has_its_token_alone(client: Api, store: Store) -> None:
    message_id, other = uuid7(), uuid7()
    await record(store, returned(message_id))
    await record(store, returned(other))
    async with client.post(f"/v1/messages/{message_id}/view-token", headers=bearer(SHOP)) as answer:
        token = (await answer.json())["token"]
    async with client.get(f"/v1/messages/{message_id}/badge?token={token}") as answer:
        told, text, etag = await answer.json(), await answer.text(), answer.headers["ETag"]
    assert (answer.status, told["status"], told["counts"]["recipients"]) == (200, "hard_bounce", 1)
    [delivery] = told["deliveries"]
    assert (delivery["recipient"], delivery["cause"]) == ("a…@example.org", "unknown_recipient")
    assert "Recipient address rejected" in delivery["said"]
    assert "ann@example.org" not in text
    async with client.get(f"/v1/messages/{message_id}/badge?token={token}", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
    for path in (f"{other}/badge?token={token}", f"{message_id}/badge?token={token[:-2]}xx", f"{message_id}/badge"):
        async with client.get(f"/v1/messages/{path}") as answer:
            assert answer.status == 401, path
    async with client.post(f"/v1/messages/{message_id}/view-token", headers=bearer(OTHER)) as answer:
        assert answer.status == 404


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_a_key_becomes_a_session_that_scripts_cannot_read(client: Api, store: Store) -> None:
    await record(store, returned(message_id := uuid7()))
    async with client.post("/v1/session", json={"key": "wrong"}) as answer:
        assert answer.status == 401
    async with client.post("/v1/session", json={"key": SHOP}) as answer:
        cookie = answer.cookies[SESSION_COOKIE]
        assert (answer.status, (await answer.json())["client"]) == (200, "shop")
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    async with client.get(f"/v1/messages/{message_id}") as answer:
        assert answer.status == 200
    for headers, status in (({}, 403), ({CONSOLE_HEADER: "1"}, 200)):
        async with client.post(f"/v1/messages/{message_id}/view-token", headers=headers) as answer:
            assert answer.status == status
    async with client.delete("/v1/session") as answer:
        assert answer.status == 204
    async with client.get("/v1/session") as answer:
        assert answer.status == 401


async def test_a_parameter_is_given_once(client: Api) -> None:
    for path in ("/v1/messages?app=shop&limit=1&app=other", "/v1/stats?app=&app="):
        async with client.get(path, headers=bearer(SHOP)) as answer:
            told = await answer.json()
        assert (answer.status, told["code"]) == (422, "invalid-request")
        assert [each["pointer"] for each in told["errors"]] == ["/app"]


async def test_a_login_is_good_once(client: Api) -> None:
    async with client.post("/v1/session/login", headers=bearer(SHOP)) as answer:
        login = (await answer.json())["login"]
    answers = []
    for _ in range(2):
        async with client.post("/v1/session", json={"login": login}) as answer:
            answers.append(answer.status)
    assert answers == [200, 401]


async def test_pages_of_the_listed_origins_alone_may_use_the_api(client: Api, store: Store) -> None:
    await record(store, returned(message_id := uuid7()))
    path = f"/v1/messages/{message_id}"
    for origin, allowed in ((DESK, DESK), ("https://evil.example", None)):
        wish = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        async with client.options(path, headers=wish) as answer:
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        async with client.get(path, headers=bearer(SHOP) | {"Origin": origin}) as answer:
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with client.post(f"{path}/view-token", headers=bearer(SHOP) | {"Origin": origin}) as answer:
            assert answer.status == (200 if allowed else 403)
