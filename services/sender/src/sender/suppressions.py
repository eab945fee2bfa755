"""The API of the suppression list: search, list, check, add, lift."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic_core import to_json
from uuid_utils.compat import uuid7

from sender.suppression import Entry, Evidence, entries
from sender.suppression_asked import Addition, Check, Lifting, Listing, Search
from sender.suppression_store import Learnt, Listed, Rejection, Suppressions
from tracepost.http import client_of
from tracepost.keys import ANY, Client, Keys, app_of
from tracepost.problems import Fault, Invalid, Problem
from tracepost.tokens import Keyring


def routes(suppressions: Suppressions, keyring: Keyring, keys: Keys) -> list[web.RouteDef]:
    """`/v1/suppressions…`; a client of one app lists and changes what is its own, and finds what holds for all apps."""

    async def searched(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Search.model_validate_json(await request.read())
        return _json(await _told(keyring.address_key(asked.address), client, asked.at))

    async def listed(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Listing.model_validate_json(await request.read())
        found = await suppressions.page(app_of(client, asked.app), asked.reason, asked.cursor, asked.limit)
        cursor = found[-1].seq if len(found) == asked.limit else None
        return _json({"suppressions": [_listed(each) for each in found], "cursor": cursor})

    async def checked(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Check.model_validate_json(await request.read())
        names = {address: keyring.address_key(address) for address in asked.addresses}
        found = await suppressions.rejections(list(names.values()), app_of(client, asked.app))
        results = [_checked(address, found.get(names[address])) for address in asked.addresses]
        return _json({"rejected": sum(each["rejected"] for each in results), "addresses": results})

    async def added(request: web.Request) -> web.Response:
        client = client_of(request, keys, "operate")
        asked = Addition.model_validate_json(await request.read())
        now = datetime.now(UTC)
        if asked.until is not None and asked.until <= now:
            raise _faulty("/until", "has passed already; leave it out, which means for ever")
        app = app_of(client, asked.app)
        decision = Evidence(
            uuid7(), "added", now, app, reason="manual", until=asked.until, by=client.client, why=asked.why
        )
        return await _decide(asked.address, decision, client)

    async def lifted(request: web.Request) -> web.Response:
        client = client_of(request, keys, "operate")
        asked = Lifting.model_validate_json(await request.read())
        app, now = app_of(client, asked.app), datetime.now(UTC)
        key = keyring.address_key(asked.address)
        known = entries((await suppressions.evidence([key])).get(key, ()))
        _refuse_idle([entry for entry in known if entry.holds(now)], app)
        decision = Evidence(uuid7(), "lifted", now, app, by=client.client, why=asked.why)
        return await _decide(asked.address, decision, client)

    async def _decide(address: str, decision: Evidence, client: Client) -> web.Response:
        key = keyring.address_key(address)
        await suppressions.learn([Learnt(key, address, decision)])
        return _json(await _told(key, client))

    async def _told(key: str, client: Client, at: datetime | None = None) -> dict[str, Any]:
        evidence = (await suppressions.evidence([key], at)).get(key, [])
        now = at or datetime.now(UTC)
        found = [entry for entry in entries(evidence) if _concerns(client, entry.app)]
        history = sorted((each for each in evidence if _concerns(client, each.app)), key=lambda e: (e.at, e.id))
        return {
            "suppressions": [_entry(entry) for entry in found if entry.holds(now)],
            "former": [_entry(entry) for entry in found if not entry.holds(now)],
            "history": [_evidence(each) for each in history],
        }

    return [
        web.post("/v1/suppressions", added),
        web.post("/v1/suppressions/search", searched),
        web.post("/v1/suppressions/list", listed),
        web.post("/v1/suppressions/check", checked),
        web.post("/v1/suppressions/lift", lifted),
    ]


def _concerns(client: Client, app: str | None) -> bool:
    return client.app == ANY or app in (None, client.app)


def _refuse_idle(holding: Sequence[Entry], app: str | None) -> None:
    """Invalid where a lift would change nothing."""
    if (app is None and holding) or any(entry.app == app for entry in holding):
        return
    if any(entry.app is None for entry in holding):
        detail = f"the entry holds for all apps, not for {app} alone; a client of all apps can lift it, leaving app out"
        raise Invalid(Problem(code="held-for-all-apps", title="Not lifted", status=409, detail=detail))
    detail = "nothing keeps mail from this address; search tells what did"
    raise Invalid(Problem(code="not-suppressed", title="Not lifted", status=404, detail=detail))


def _faulty(pointer: str, detail: str) -> Invalid:
    faults = (Fault(pointer=pointer, detail=detail),)
    return Invalid(Problem(code="invalid-request", title="The request cannot be understood", errors=faults))


def _entry(entry: Entry) -> dict[str, Any]:
    told = {"reason": entry.reason, "app": entry.app, "since": entry.since, "until": entry.until}
    lift = {"lifted_at": entry.lift.at, "lifted_by": entry.lift.by, "lift_why": entry.lift.why} if entry.lift else {}
    return told | {"evidence": _evidence(entry.evidence)} | lift


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return _set(
        id=evidence.id,
        kind=evidence.kind,
        at=evidence.at,
        learnt_at=evidence.learnt_at,
        app=evidence.app,
        message_id=evidence.message_id,
        recipient_no=evidence.recipient_no,
        reason=evidence.reason,
        until=evidence.until,
        words=evidence.words,
        by=evidence.by,
        why=evidence.why,
    )


def _listed(listed: Listed) -> dict[str, Any]:
    told = listed._asdict()
    proof = {name: told.pop(name) for name in ("message_id", "words", "by", "why")}
    del told["seq"]
    return told | {"evidence": _set(id=told.pop("evidence"), **proof)}


def _checked(address: str, found: Rejection | None) -> dict[str, Any]:
    if found is None:
        return {"address": address, "rejected": False}
    told = found._asdict()
    del told["address_key"]
    return {"address": address, "rejected": True} | told


def _set(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _json(told: object) -> web.Response:
    return web.Response(body=to_json(told), content_type="application/json")
