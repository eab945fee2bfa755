"""The sender's HTTP API."""

from __future__ import annotations

from aiohttp import web

from tracepost import requests
from tracepost.http import Handler, problems


def api(send: Handler, *further: web.RouteDef) -> web.Application:
    """`POST /v1/messages`, and what others serve."""
    app = web.Application(middlewares=[problems], client_max_size=requests.MOST_BYTES)
    app.router.add_post("/v1/messages", send)
    app.router.add_routes(further)
    return app
