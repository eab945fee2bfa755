"""The badge's API: view tokens, which let a browser see the state of one message alone, and what they show."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiohttp import web

from status_store.badge import badge
from status_store.queries import Point, Queries
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import LOCAL, Keys
from tracepost.problems import Invalid, Problem
from tracepost.tokens import Keyring


def routes(queries: Queries, keys: Keys, keyring: Keyring, lifetime: timedelta) -> list[web.RouteDef]:
    """`/v1/messages/{id}/view-token` and `…/badge`."""

    async def token(request: web.Request) -> web.Response:
        client, message_id = client_of(request, keys, "read"), uuid_of(request)
        await queries.message(message_id, client)
        ends = datetime.now(UTC).replace(microsecond=0) + lifetime
        return answer({"token": keyring.seal("view", message_id.bytes, ends), "expires_at": ends})

    async def shown(request: web.Request) -> web.Response:
        found = await _visible(request)
        etag = f'"{found.version}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        return answer(badge(json.loads(found.row), found.deliveries), headers=headers)

    async def _visible(request: web.Request) -> Point:
        message_id, sealed = uuid_of(request), request.query.get("token")
        if sealed is None:
            return await queries.message(message_id, client_of(request, keys, "read"))
        _verify(sealed, message_id)
        return await queries.message(message_id, LOCAL)

    def _verify(sealed: str, message_id: UUID) -> datetime:
        claim = keyring.unseal("view", sealed)
        if claim is None or claim[0] != message_id.bytes:
            detail = "it is another message's, was changed, or has expired; POST /v1/messages/{id}/view-token gives one"
            raise Invalid(Problem(code="invalid-token", title="No valid view token", status=401, detail=detail))
        return claim[1]

    return [
        web.post("/v1/messages/{id}/view-token", token),
        web.get("/v1/messages/{id}/badge", shown),
    ]
