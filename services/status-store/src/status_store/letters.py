"""The API of dead letters: list, show, replay, drop."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from aio_pika import Message
from aiohttp import web

from status_store.asked import Letters
from status_store.graves import Graves
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.http import answer, client_of
from tracepost.keys import Keys
from tracepost.problems import Invalid, Problem


def routes(graves: Graves, publisher: Publisher, keys: Keys, user: str) -> list[web.RouteDef]:
    """`/v1/dead-letters…`; a replay is published as AMQP user `user`, for the letter's own app."""

    async def listed(request: web.Request) -> web.Response:
        client_of(request, keys, "operate")
        asked = Letters.model_validate(dict(request.query))
        found = await graves.list(asked.queue, asked.code, asked.cursor, asked.limit)
        return answer({"dead_letters": found, "cursor": found[-1]["id"] if len(found) == asked.limit else None})

    async def shown(request: web.Request) -> web.Response:
        client_of(request, keys, "operate")
        return answer(_readable(await _found(graves, request)))

    async def replayed(request: web.Request) -> web.Response:
        client_of(request, keys, "operate")
        dead = await _found(graves, request)
        if not dead["exchange"]:
            detail = "it came by no exchange; its body can be read here, and the letter dropped"
            raise Invalid(Problem(code="no-exchange", title="Cannot be replayed", status=409, detail=detail))
        await _publish(publisher, dead, user)
        await graves.mark_replayed(dead["id"])
        return answer(_readable(await _found(graves, request)))

    async def dropped(request: web.Request) -> web.Response:
        client_of(request, keys, "operate")
        if not await graves.drop(_id(request)):
            raise _unknown()
        return web.Response(status=204)

    return [
        web.get("/v1/dead-letters", listed),
        web.get("/v1/dead-letters/{id}", shown),
        web.post("/v1/dead-letters/{id}/replay", replayed),
        web.delete("/v1/dead-letters/{id}", dropped),
    ]


async def _publish(publisher: Publisher, dead: dict[str, Any], user: str) -> None:
    headers = dead["headers"] | ({"tracepost-app": dead["app"]} if dead["app"] else {})
    message = Message(dead["body"], content_type=dead["content_type"], headers=headers, user_id=user)
    try:
        await publisher.send(message, dead["exchange"], dead["routing_key"])
    except (NotConfirmed, Unroutable) as error:
        raise Invalid(Problem(code="unavailable", title="Not replayed", status=503, detail=str(error))) from None


async def _found(graves: Graves, request: web.Request) -> dict[str, Any]:
    found = await graves.find(_id(request))
    if found is None:
        raise _unknown()
    return dict(found)


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise _unknown() from None


def _unknown() -> Invalid:
    return Invalid(Problem(code="unknown-dead-letter", title="There is no such dead letter", status=404))


def _readable(dead: dict[str, Any]) -> dict[str, Any]:
    """The body as text where it is text, else in base64."""
    try:
        return dead | {"body": dead["body"].decode(), "body_encoding": "utf-8"}
    except UnicodeDecodeError:
        return dead | {"body": base64.b64encode(dead["body"]).decode(), "body_encoding": "base64"}
