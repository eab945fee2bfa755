"""The API of one message: itself, its timeline, why a delivery has its status."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic_core import to_json

from status_store.asked import recipient_no
from status_store.badge import tracked
from status_store.fold import Delivery
from status_store.queries import Queries
from status_store.standing import status
from status_store.why import explain
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import Keys


def routes(queries: Queries, keys: Keys) -> list[web.RouteDef]:
    """`/v1/messages/{id}`, `…/events`, `…/deliveries/{number}/why`; each app sees its own."""

    async def message(request: web.Request) -> web.Response:
        found = await queries.message(uuid_of(request), client_of(request, keys, "read"))
        etag = f'"{found.version}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        deliveries = to_json([_delivery(number, each) for number, each in found.deliveries.items()])
        # The row is JSON as the database made it: to read it and write it again would cost as much as all the rest.
        body = b'%s,"shown_as":%s,"deliveries":%s}' % (found.row[:-1].encode(), to_json(found.shown_as), deliveries)
        return web.Response(body=body, headers={"Content-Type": "application/json", "ETag": etag})

    async def timeline(request: web.Request) -> web.Response:
        found = await queries.timeline(uuid_of(request), client_of(request, keys, "read"))
        return web.Response(text=found, content_type="application/json")

    async def why(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        message_id, number = uuid_of(request), recipient_no(request.match_info["number"])
        found = await queries.delivery_events(message_id, number, client)
        return answer({"message_id": message_id, "recipient_no": number, "why": explain(found)})

    return [
        web.get("/v1/messages/{id}", message),
        web.get("/v1/messages/{id}/events", timeline),
        web.get("/v1/messages/{id}/deliveries/{number}/why", why),
    ]


def _delivery(number: int, known: Delivery) -> dict[str, Any]:
    standing = status(known)
    return {
        "recipient_no": number,
        "recipient": known.accepted.data.recipient if known.accepted else None,
        "read_tracking": tracked(known),
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
