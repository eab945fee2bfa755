"""The query API: a message, its timeline, lists."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from status_store.fold import Delivery
from status_store.rollup import SHOWN_AS
from status_store.standing import Status, status
from status_store.store import Store
from status_store.why import explain
from tracepost.http import client_of, problems
from tracepost.keys import ANY, Keys
from tracepost.problems import Invalid, Problem


class Listing(BaseModel):
    """The query of a list: newest first, `cursor` from the page before."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    reference: str | None = None
    cursor: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


def api(store: Store, keys: Keys, *further: web.RouteDef) -> web.Application:
    """`GET /v1/messages`, `/v1/messages/{id}`, `…/{id}/events`, `…/{id}/deliveries/{recipient_no}/why`."""

    async def message(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        found = await store.message(_id(request))
        if found is None or not client.may_see(found[0]["app"]):
            raise _unknown()
        row, deliveries = found
        etag = f'"{row["version"]}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        told = _message(row) | {"deliveries": [_delivery(number, each) for number, each in deliveries.items()]}
        return _json(told, {"ETag": etag})

    async def timeline(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        app, found = await store.timeline(_id(request))
        if found is None or not client.may_see(app):
            raise _unknown()
        return web.Response(text=found, content_type="application/json")

    async def why(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        message_id, number = _id(request), _number(request)
        found = await store.delivery_events(message_id, number)
        if found is None or not client.may_see(found[0]):
            raise _unknown()
        return _json({"message_id": message_id, "recipient_no": number, "why": explain(found[1])})

    async def messages(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Listing.model_validate(dict(request.query))
        app = None if client.app == ANY else client.app
        rows = await store.list(app, asked.status, asked.reference, asked.cursor, asked.limit)
        cursor = rows[-1]["message_id"] if len(rows) == asked.limit else None
        return _json({"messages": [_message(row) for row in rows], "cursor": cursor})

    app = web.Application(middlewares=[problems])
    app.router.add_get("/v1/messages", messages)
    app.router.add_get("/v1/messages/{id}", message)
    app.router.add_get("/v1/messages/{id}/events", timeline)
    app.router.add_get("/v1/messages/{id}/deliveries/{number}/why", why)
    app.router.add_routes(further)
    return app


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Invalid(Problem(code="invalid-id", title="A message's id is a UUID", status=400)) from None


def _number(request: web.Request) -> int:
    number = request.match_info["number"]
    if not re.fullmatch("[0-9]{1,3}", number) or int(number) > 255:
        raise Invalid(Problem(code="invalid-number", title="A recipient's number is 0 to 255", status=400))
    return int(number)


def _unknown() -> Invalid:
    return Invalid(Problem(code="unknown-message", title="No event of this message is known", status=404))


def _message(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"shown_as": row["rollup"].get("shown_as", SHOWN_AS[row["status"]])}


def _delivery(number: int, known: Delivery) -> dict[str, Any]:
    standing = status(known)
    accepted = known.accepted.data if known.accepted else None
    tracked = accepted is None or (accepted.track_opens != "off" and accepted.has_html)
    return {
        "recipient_no": number,
        "recipient": accepted.recipient if accepted else None,
        "read_tracking": tracked,
        "status": standing.status,
        "shown_as": standing.shown_as,
        "cause": standing.cause,
        "notes": standing.notes,
        "since": standing.time,
        "why": {"rule": standing.rule, "event_id": standing.event_id},
        "delivered_at": known.delivered.time if known.delivered else None,
        "opens": {
            verdict: {"first": o.first.time, "last": o.last.time, "count": o.count}
            for verdict, o in known.opens.items()
        },
    }


def _json(told: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=to_json(told), content_type="application/json", headers=headers)
