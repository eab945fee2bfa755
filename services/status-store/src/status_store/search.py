"""The API of lists: messages, newest first, by pages."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from status_store.rollup import SHOWN_AS
from status_store.standing import Status
from status_store.store import Store
from tracepost.http import answer, client_of
from tracepost.keys import ANY, Keys


class Listing(BaseModel):
    """The query of a list: newest first, `cursor` from the page before."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    reference: str | None = None
    cursor: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


def routes(store: Store, keys: Keys) -> list[web.RouteDef]:
    """`GET /v1/messages`."""

    async def messages(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Listing.model_validate(dict(request.query))
        app = None if client.app == ANY else client.app
        rows = await store.list(app, asked.status, asked.reference, asked.cursor, asked.limit)
        cursor = rows[-1]["message_id"] if len(rows) == asked.limit else None
        return answer({"messages": [_message(row) for row in rows], "cursor": cursor})

    return [web.get("/v1/messages", messages)]


def _message(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"shown_as": row["rollup"].get("shown_as", SHOWN_AS[row["status"]])}
