"""status-store's HTTP API: what the rooms serve, with problem documents for their faults."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from aiohttp import web

from tracepost import postgres
from tracepost.http import Handler, allow_origins, problems
from tracepost.problems import Invalid, Problem

log = structlog.get_logger()

MOST_BYTES = 64 * 1024


def api(origins: Collection[str], *routes: web.RouteDef) -> web.Application:
    """The routes of all rooms; pages of these origins may use them too."""
    app = web.Application(middlewares=[problems, _while_away], client_max_size=MOST_BYTES)
    allow_origins(app, origins)
    app.router.add_routes(routes)
    return app


@web.middleware
async def _while_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except postgres.TRANSIENT as error:
        log.warning("cannot answer", route=str(request.match_info.route.resource), reason=repr(error))
        detail = "the database is away, or the question takes it too long; ask again soon"
        raise Invalid(Problem(code="unavailable", title="Cannot be answered now", status=503, detail=detail)) from None
