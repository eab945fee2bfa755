"""The API of the suppression list against a real PostgreSQL: who may ask, what is told, what changes, CSV both ways."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from uuid_utils.compat import uuid7

from sender import suppression_files, suppressions
from sender.api import api
from sender.suppression import Evidence, Kind
from sender.suppression_store import Learnt, Suppressions
from tracepost import keys, postgres
from tracepost.http import CONSOLE_HEADER, SESSION_COOKIE
from tracepost.tokens import Keyring

ALL, SHOP, READER, SENDER = (keys.new(name) for name in ("all", "shop", "reader", "sender"))
CLIENTS = [
    {"client": "all", "app": "*", "scopes": ["read", "operate"], "hashes": [keys.hashed(ALL)]},
    {"client": "shop-key", "app": "shop", "scopes": ["read", "operate"], "hashes": [keys.hashed(SHOP)]},
    {"client": "reader", "app": "*", "scopes": ["read"], "hashes": [keys.hashed(READER)]},
    {"client": "sender", "app": "shop", "scopes": ["send"], "hashes": [keys.hashed(SENDER)]},
]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
ANN = "ann@example.org"
Api = TestClient[web.Request, web.Application]


@pytest.fixture
async def known(database: str) -> AsyncIterator[Suppressions]:
    async with postgres.connected(database, "sender") as pool:
        yield Suppressions(pool)


@pytest.fixture
async def client(known: Suppressions, keyring: Keyring) -> AsyncIterator[Api]:
    clients = keys.read(json.dumps(CLIENTS), keyring)
    routes = (
        *suppressions.routes(known, keyring, clients),
        *suppression_files.routes(known, keyring, clients),
    )

    async def send(request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotImplemented

    async with TestClient(TestServer(api((CONSOLE,), send, *routes))) as client:
        yield client


CONSOLE = "https://status.example.org"


async def test_the_console_asks_by_its_users_session_and_no_other_page_does(client: Api, keyring: Keyring) -> None:
    sealed, _ = keys.read(json.dumps(CLIENTS), keyring).session(keys.hashed(ALL))
    cookie, wish = {"Cookie": f"{SESSION_COOKIE}={sealed}"}, {"address": ANN}
    for origin, header, status in (
        (CONSOLE, {CONSOLE_HEADER: "1"}, 200),
        (CONSOLE, {}, 403),
        ("https://evil.example", {CONSOLE_HEADER: "1"}, 403),
    ):
        headers = cookie | header | {"Origin": origin}
        async with client.post("/v1/suppressions/search", headers=headers, json=wish) as answer:
            assert answer.status == status
            allowed = answer.headers.get("Access-Control-Allow-Credentials")
            assert (allowed == "true") is (origin == CONSOLE)


async def ask(client: Api, path: str, key: str = ALL, **body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    async with client.post(f"/v1/suppressions{path}", headers=headers, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def send_csv(client: Api, text: str, query: str = "", key: str = ALL) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
    async with client.post(f"/v1/suppressions/import{query}", headers=headers, data=text.encode()) as answer:
        return answer.status, await answer.json(content_type=None)


async def export(client: Api, key: str = ALL) -> list[str]:
    async with client.get("/v1/suppressions/export", headers={"Authorization": f"Bearer {key}"}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/csv")
        return (await answer.text()).split("\r\n")[:-1]


async def search(client: Api, address: str = ANN, key: str = ALL, **body: Any) -> Any:
    status, told = await ask(client, "/search", key, address=address, **body)
    assert status == 200
    return told


async def learn(known: Suppressions, keyring: Keyring, kind: Kind, days: float = 0, **fields: Any) -> Evidence:
    address = fields.pop("address", ANN)
    told: dict[str, Any] = {"message_id": uuid7(), "recipient_no": 0} | fields
    evidence = Evidence(id=uuid7(), kind=kind, at=NOW + days * DAY, **told)
    await known.learn([Learnt(keyring.address_key(address), address, evidence)])
    return evidence


async def test_search_tells_what_holds_with_its_evidence(client: Api, known: Suppressions, keyring: Keyring) -> None:
    assert await search(client) == {"suppressions": [], "former": [], "history": []}
    evidence = await learn(known, keyring, "hard_bounce", words="550 5.1.1 no such user")
    told = await search(client, "Ann <ANN@example.org>")
    [entry] = told["suppressions"]
    assert (entry["reason"], entry["app"]) == ("hard_bounce", None)
    assert datetime.fromisoformat(entry["until"]) == evidence.at + 30 * DAY
    assert entry["evidence"]["id"] == str(evidence.id)
    assert entry["evidence"]["message_id"] == str(evidence.message_id)
    assert entry["evidence"]["words"] == "550 5.1.1 no such user"
    assert told["history"] == [entry["evidence"]]


async def test_an_entry_is_added_lifted_and_remembered(client: Api) -> None:
    status, told = await ask(client, "", address=ANN, why="asked by telephone")
    assert status == 200
    [entry] = told["suppressions"]
    assert (entry["reason"], entry["until"], entry["evidence"]["by"]) == ("manual", None, "all")
    added = datetime.fromisoformat(told["history"][0]["learnt_at"])
    _, told = await ask(client, "/lift", address=ANN, why="asked again")
    [former] = told["former"]
    assert told["suppressions"] == []
    assert (former["lifted_by"], former["lift_why"]) == ("all", "asked again")
    assert [each["kind"] for each in told["history"]] == ["added", "lifted"]
    [then] = (await search(client, at=(added + timedelta(milliseconds=1)).isoformat()))["suppressions"]
    assert then["evidence"]["why"] == "asked by telephone"


async def test_what_happened_before_a_lift_is_not_held_against_anybody(
    client: Api, known: Suppressions, keyring: Keyring
) -> None:
    await learn(known, keyring, "hard_bounce", -2)
    await ask(client, "/lift", address=ANN, why="mended")
    await learn(known, keyring, "hard_bounce", -1)
    assert (await search(client))["suppressions"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/lift", {"address": ANN, "why": "x"}, 404, "not-suppressed"),
        ("", {"address": ANN, "why": "x", "until": NOW.isoformat()}, 422, "invalid-request"),
        ("", {"address": ANN}, 422, "invalid-request"),
        ("", {"address": "ann@", "why": "x"}, 422, "invalid-request"),
        ("", {"address": ANN, "why": " "}, 422, "invalid-request"),
        ("/search", {"address": ANN, "colour": "red"}, 422, "invalid-request"),
        ("/list", {"reason": "because"}, 422, "invalid-request"),
        ("/list", {"limit": 0}, 422, "invalid-request"),
        ("/check", {"addresses": []}, 422, "invalid-request"),
        ("/check", {"addresses": [ANN] * 1001}, 422, "invalid-request"),
    ],
)
async def test_a_fault_is_told_with_its_remedy(
    client: Api, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    answered, told = await ask(client, path, **body)
    assert (answered, told["code"]) == (status, code)
    assert told.get("errors") or told["detail"]


@pytest.mark.parametrize(
    ("path", "body", "scope"),
    [
        ("", {"address": ANN, "why": "x"}, "operate"),
        ("/lift", {"address": ANN, "why": "x"}, "operate"),
        ("/search", {"address": ANN}, "read"),
        ("/list", {}, "read"),
        ("/check", {"addresses": [ANN]}, "read"),
    ],
)
async def test_who_may_not_is_refused(client: Api, path: str, body: dict[str, Any], scope: str) -> None:
    assert [(await ask(client, path, key, **body))[0] for key in ("none", SENDER)] == [401, 403]
    assert (await ask(client, path, READER, **body))[0] == (403 if scope == "operate" else 200)
    assert (await send_csv(client, "address", key=READER))[0] == 403


async def test_a_client_of_one_app_changes_what_is_its_own(client: Api) -> None:
    await ask(client, "", address=ANN, app="desk", why="x")
    assert (await ask(client, "", SHOP, address=ANN, app="desk", why="x"))[1]["code"] == "other-app"
    assert (await ask(client, "/lift", SHOP, address=ANN, why="x"))[1]["code"] == "not-suppressed"
    _, told = await ask(client, "", SHOP, address=ANN, why="asked the shop")
    assert [(each["app"], each["evidence"]["by"]) for each in told["suppressions"]] == [("shop", "shop-key")]
    assert {each["app"] for each in told["history"]} == {"shop"}
    assert {each["app"] for each in (await search(client))["suppressions"]} == {"desk", "shop"}
    assert (await ask(client, "/lift", SHOP, address=ANN, why="x"))[1]["suppressions"] == []
    assert {each["app"] for each in (await search(client))["suppressions"]} == {"desk"}


async def test_what_holds_for_all_apps_is_found_by_each_and_lifted_by_none(
    client: Api, known: Suppressions, keyring: Keyring
) -> None:
    await learn(known, keyring, "hard_bounce")
    assert [each["reason"] for each in (await search(client, key=SHOP))["suppressions"]] == ["hard_bounce"]
    status, told = await ask(client, "/lift", SHOP, address=ANN, why="x")
    assert (status, told["code"]) == (409, "held-for-all-apps")
    assert "leaving app out" in told["detail"]
    assert (await ask(client, "/list", SHOP))[1]["suppressions"] == []
    assert await export(client, SHOP) == ["address,app,reason,since,until,why"]


async def test_a_lift_for_all_apps_lifts_those_of_each(client: Api) -> None:
    for app in ("shop", "desk"):
        await ask(client, "", address=ANN, app=app, why="x")
    _, told = await ask(client, "/lift", address=ANN, why="x")
    assert [each["app"] for each in told["former"]] == ["desk", "shop"]


async def test_lists_go_by_pages_newest_first(client: Api, known: Suppressions, keyring: Keyring) -> None:
    for number in range(5):
        await ask(client, "", address=f"a{number}@example.org", why="x", app="shop" if number % 2 else None)
    await learn(known, keyring, "hard_bounce", address="dead@example.org")
    await learn(known, keyring, "hard_bounce", -99, address="ended@example.org")
    found: list[str] = []
    cursor = None
    while True:
        _, told = await ask(client, "/list", cursor=cursor, limit=2)
        found += [each["address"].partition("@")[0] for each in told["suppressions"]]
        if (cursor := told["cursor"]) is None:
            break
    assert found == ["dead", "a4", "a3", "a2", "a1", "a0"]
    _, manual = await ask(client, "/list", reason="manual", app="shop")
    assert [each["address"][:2] for each in manual["suppressions"]] == ["a3", "a1"]
    assert manual["suppressions"][0]["evidence"]["by"] == "all"


async def test_a_campaign_can_be_checked(client: Api, known: Suppressions, keyring: Keyring) -> None:
    evidence = await learn(known, keyring, "complaint")
    await ask(client, "", address="bob@example.org", app="shop", why="x", until=(NOW + DAY).isoformat())
    addresses = ["ANN@example.org", "bob@example.org", "eve@example.org", ANN]
    for key, app, rejected in ((ALL, None, 2), (ALL, "shop", 3), (ALL, "desk", 2), (SHOP, None, 3)):
        _, told = await ask(client, "/check", key, addresses=addresses, app=app)
        assert (told["rejected"], len(told["addresses"])) == (rejected, 4)
    first, second, third, _ = told["addresses"]
    assert (first["address"], first["reason"], first["until"]) == (ANN, "spam_complaint", None)
    assert (first["evidence_event"], first["app"]) == (str(evidence.id), None)
    assert (second["reason"], second["app"], third) == (
        "manual",
        "shop",
        {"address": "eve@example.org", "rejected": False},
    )


LINES = f"""address,app,reason,since,until,why
Ann@example.org,,hard_bounce,{(NOW - DAY).isoformat()},,from the old system
bob@example.org,shop,unsubscribed,,,
ended@example.org,,manual,2020-01-01T00:00:00Z,2020-02-01T00:00:00Z,
"""
BAD = "nobody,,,,,\n"


async def test_an_import_is_tried_first_and_takes_nothing_then(client: Api) -> None:
    status, told = await send_csv(client, LINES + BAD, "?dry_run=true")
    assert status == 200
    assert [(each["line"], each["address"]) for each in told["added"]] == [(2, ANN), (3, "bob@example.org")]
    assert told["changed"] == []
    assert [(each["line"], each["because"]) for each in told["ignored"]] == [(4, "it has ended already")]
    [wrong] = told["wrong"]
    assert (wrong["line"], wrong["field"], bool(wrong["detail"])) == (5, "address", True)
    assert (await search(client))["history"] == []


async def test_of_an_import_with_a_wrong_line_nothing_is_taken_unless_told(client: Api) -> None:
    status, told = await send_csv(client, LINES + BAD)
    assert (status, told["code"], told["errors"][0]["pointer"]) == (422, "import-faults", "/lines/5/address")
    assert (await search(client))["history"] == []
    status, told = await send_csv(client, LINES + BAD, "?skip_bad=true")
    assert (status, len(told["added"]), len(told["wrong"])) == (200, 2, 1)
    [entry] = (await search(client))["suppressions"]
    assert (entry["reason"], entry["evidence"]["why"], entry["until"]) == ("hard_bounce", "from the old system", None)
    _, told = await send_csv(client, LINES)
    assert (told["added"], told["changed"], len(told["ignored"])) == ([], [], 3)


@pytest.mark.parametrize("query", ["?dry_run=maybe", "?colour=red"])
async def test_an_import_that_is_not_understood_is_refused(client: Api, query: str) -> None:
    assert (await send_csv(client, LINES, query))[1]["code"] == "invalid-request"


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"address\n", "application/json", "not-csv"),
        (b"address\n\xff", "text/csv", "not-utf-8"),
        (b"mail\n", "text/csv", "csv-header"),
    ],
)
async def test_what_is_no_such_file_is_refused(client: Api, content: bytes, content_type: str, code: str) -> None:
    headers = {"Authorization": f"Bearer {ALL}", "Content-Type": content_type}
    async with client.post("/v1/suppressions/import", headers=headers, data=content) as answer:
        assert (await answer.json(content_type=None))["code"] == code


async def test_an_export_can_be_imported_elsewhere(
    client: Api, known: Suppressions, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression_files, "ROWS_AT_ONCE", 2)
    lines = "".join(f"=a{number}@example.org,,,,,'=1+1\n" for number in range(5))
    await send_csv(client, f"address,app,reason,since,until,why\n{lines}")
    await known.learn([], {keyring.address_key("=a0@example.org"): datetime.now(UTC)})
    header, *rows = await export(client)
    assert sorted(each.partition(",")[0] for each in rows) == [f"'=a{number}@example.org" for number in range(1, 5)]
    assert all(each.endswith(",'=1+1") for each in rows)
    _, again = await send_csv(client, "\r\n".join([header, *rows]), "?dry_run=true")
    assert (again["added"], again["changed"], len(again["ignored"])) == ([], [], 4)
    for number in range(1, 5):
        await ask(client, "/lift", address=f"=a{number}@example.org", why="moved")
    _, told = await send_csv(client, "\r\n".join([header, *rows]), "?dry_run=true")
    assert all("was lifted at" in each["because"] for each in told["ignored"])
    assert len(told["ignored"]) == 4
