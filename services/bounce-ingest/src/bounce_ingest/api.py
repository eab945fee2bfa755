"""The HTTP API of bounce-ingest."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from tracepost.http import allow_origins, problems

MOST_BYTES = 8 * 1024 * 1024  # of a body


def api(origins: Collection[str], *routes: web.RouteDef) -> web.Application:
    """What the routes serve; the console's pages use it by their users' sessions."""
    app = web.Application(middlewares=[problems], client_max_size=MOST_BYTES)
    allow_origins(app, origins, sessions=True)
    app.router.add_routes(routes)
    return app
