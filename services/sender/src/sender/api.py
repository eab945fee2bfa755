"""The sender's HTTP API."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from tracepost import requests
from tracepost.http import Handler, allow_origins, problems


def api(origins: Collection[str], send: Handler, *further: web.RouteDef) -> web.Application:
    """`POST /v1/messages`, and what others serve; the console's pages use it by their users' sessions."""
    app = web.Application(middlewares=[problems], client_max_size=requests.MOST_BYTES)
    allow_origins(app, origins, sessions=True)
    app.router.add_post("/v1/messages", send)
    app.router.add_routes(further)
    return app
