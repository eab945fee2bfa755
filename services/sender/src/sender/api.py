"""The sender's HTTP API."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from sender.store import Queue
from tracepost import requests
from tracepost.addresses import MailboxText, parse
from tracepost.http import Handler, client_of, problems
from tracepost.keys import Keys
from tracepost.tokens import Keyring


class Search(BaseModel):
    """The body of a search; an address never stands in a URL."""

    model_config = ConfigDict(extra="forbid")

    address: MailboxText


def api(queue: Queue, keyring: Keyring, keys: Keys, send: Handler) -> web.Application:
    """`POST /v1/messages`; `POST /v1/suppressions/search`: why an address is not written to."""

    async def search(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Search.model_validate_json(await request.read())
        [found] = await queue.suppressed([(keyring.address_key(parse(asked.address).address), client.app)])
        told = {"suppressions": [found.model_dump(exclude_none=True)] if found else []}
        return web.Response(body=to_json(told), content_type="application/json")

    app = web.Application(middlewares=[problems], client_max_size=requests.MOST_BYTES)
    app.router.add_post("/v1/messages", send)
    app.router.add_post("/v1/suppressions/search", search)
    return app
