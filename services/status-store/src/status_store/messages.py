"""The API of one message: itself, its timeline, why a delivery has its status."""

from __future__ import annotations

from aiohttp import web

from status_store.asked import recipient_no
from status_store.point import etag, told
from status_store.queries import Queries
from status_store.why import explain
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import Keys


def routes(queries: Queries, keys: Keys) -> list[web.RouteDef]:
    """`/v1/messages/{id}`, `…/events`, `…/deliveries/{number}/why`; each app sees its own."""

    async def message(request: web.Request) -> web.Response:
        found = await queries.message(uuid_of(request), client_of(request, keys, "read"))
        headers = {"ETag": etag(found)}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=told(found), content_type="application/json", headers=headers)

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
