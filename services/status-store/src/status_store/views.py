"""The badge's API: view tokens, which let a browser see the state of one message alone, and what they show."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic_core import to_json

from status_store.badge import badge
from status_store.live import Live, happens
from status_store.point import Point
from status_store.queries import Queries
from status_store.sse import HEARTBEAT, HEARTBEAT_SECONDS, streaming
from tracepost import postgres
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import LOCAL, Keys
from tracepost.problems import Invalid, Problem
from tracepost.tokens import Keyring


def routes(queries: Queries, live: Live, keys: Keys, keyring: Keyring, lifetime: timedelta) -> list[web.RouteDef]:
    """`/v1/messages/{id}/view-token`, `…/badge` and `…/badge/live`."""

    async def token(request: web.Request) -> web.Response:
        client, message_id = client_of(request, keys, "read"), uuid_of(request)
        await queries.message(message_id, client)
        ends = datetime.now(UTC).replace(microsecond=0) + lifetime
        return answer({"token": keyring.seal("view", message_id.bytes, ends), "expires_at": ends})

    async def shown(request: web.Request) -> web.Response:
        found, _ = await _visible(request)
        etag = f'"{found.version}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        return answer(_badge(found), headers=headers)

    async def _visible(request: web.Request) -> tuple[Point, datetime]:
        """The message, and until when it may be seen."""
        message_id, sealed = uuid_of(request), request.query.get("token")
        if sealed is None:
            found = await queries.message(message_id, client_of(request, keys, "read"))
            return found, datetime.now(UTC) + lifetime
        ends = _verified(sealed, message_id)
        return await queries.message(message_id, LOCAL), ends

    async def followed(request: web.Request) -> web.StreamResponse:
        found, ends = await _visible(request)
        return await _follow(queries, live, request, found, ends)

    def _verified(sealed: str, message_id: UUID) -> datetime:
        claim = keyring.unseal("view", sealed)
        if claim is None or claim[0] != message_id.bytes:
            detail = "it is another message's, was changed, or has expired; POST /v1/messages/{id}/view-token gives one"
            raise Invalid(Problem(code="invalid-token", title="No valid view token", status=401, detail=detail))
        return claim[1]

    return [
        web.post("/v1/messages/{id}/view-token", token),
        web.get("/v1/messages/{id}/badge", shown),
        web.get("/v1/messages/{id}/badge/live", followed),
    ]


async def _follow(
    queries: Queries, live: Live, request: web.Request, found: Point, ends: datetime
) -> web.StreamResponse:
    """The badge, and again whenever the message's version has changed, until then."""
    message_id, version = uuid_of(request), None
    with live.watching(str(message_id)) as changed:
        async with streaming(request) as response:
            while not live.ended and (left := (ends - datetime.now(UTC)).total_seconds()) > 0:
                if found.version != version:
                    version = found.version
                    await response.write(_frame(found))
                if not await happens(changed, min(left, HEARTBEAT_SECONDS)):
                    await response.write(HEARTBEAT)
                changed.clear()
                with suppress(*postgres.TRANSIENT):  # while the database is away the badge stays as it is
                    found = await queries.message(message_id, LOCAL)
    return response


def _badge(found: Point) -> dict[str, Any]:
    return badge(json.loads(found.row), found.deliveries)


def _frame(found: Point) -> bytes:
    return b"event: badge\nid: %d\ndata: %s\n\n" % (found.version, to_json(_badge(found)))
