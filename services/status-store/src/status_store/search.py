"""The API of lists: messages by any combination of filters, newest first, by pages; and which issues were seen."""

from __future__ import annotations

from aiohttp import web

from status_store.asked import Listing, Search, plan
from status_store.issues import Issues
from status_store.queries import Queries
from status_store.rollup import shown
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import Client, Keys, app_of
from tracepost.tokens import Keyring


def routes(queries: Queries, issues: Issues, keyring: Keyring, keys: Keys) -> list[web.RouteDef]:
    """`GET /v1/messages`, `POST /v1/messages/search` and `/v1/messages/{id}/seen`."""

    async def listed(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        return await _page(client, Listing.model_validate(dict(request.query)))

    async def searched(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        return await _page(client, Search.model_validate_json(await request.read()))

    async def _page(client: Client, asked: Listing) -> web.Response:
        wanted = plan(asked, app_of(client, asked.app), keyring.address_key)
        rows, cursor = await queries.page(wanted, asked.limit)
        return answer({"messages": [shown(row) for row in rows], "cursor": cursor})

    async def seen(request: web.Request) -> web.Response:
        client, message_id = client_of(request, keys, "read"), uuid_of(request)
        await queries.message(message_id, client)
        await issues.see(message_id, client.client)
        return web.Response(status=204)

    return [
        web.get("/v1/messages", listed),
        web.post("/v1/messages/search", searched),
        web.post("/v1/messages/{id}/seen", seen),
    ]
