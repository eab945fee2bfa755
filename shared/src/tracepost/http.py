"""Serving HTTP: problem documents for every fault, and the admin port's /livez /readyz /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import exposition
from pydantic import ValidationError

from tracepost.keys import LOCAL, Client, Keys, Scope
from tracepost.problems import PROBLEM_TYPE, Invalid, Problem, from_validation

log = structlog.get_logger()

# A check answers None when all is well, else what is wrong.
Check = Callable[[], Awaitable[str | None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CHECK_TIMEOUT = 2.0


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every fault with a problem document."""
    try:
        return await handler(request)
    except Invalid as error:
        problem = error.problem
    except ValidationError as error:
        problem = from_validation(error, "invalid-request", "The request cannot be understood")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = Problem(code=error.reason.lower().replace(" ", "-"), title=error.reason, status=error.status)
    except Exception:
        log.exception("request failed", method=request.method, route=str(request.match_info.route.resource))
        problem = Problem(
            code="internal-error", title="The request failed here; it is in the service's log", status=500
        )
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(problem.status)
    return web.Response(body=problem.document(), status=problem.status, content_type=PROBLEM_TYPE, headers=headers)


def client_of(request: web.Request, keys: Keys, scope: Scope) -> Client:
    """Who asks; Invalid (401 or 403) when nobody may, or not this. Without any keys everybody is LOCAL."""
    if not keys:
        return LOCAL
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    client = keys.find(key.strip()) if scheme.lower() == "bearer" else None
    if client is None:
        detail = "send your API key as: Authorization: Bearer <key>"
        raise Invalid(Problem(code="unauthorized", title="No valid API key", status=401, detail=detail))
    if scope not in client.scopes:
        detail = f"the key of {client.client} lacks the scope {scope}"
        raise Invalid(Problem(code="forbidden", title="The API key does not allow this", status=403, detail=detail))
    return client


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve until the block ends, open requests finished; yields the port."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def admin(checks: dict[str, Check]) -> web.Application:
    """The admin port. `checks` may grow while the service starts."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        faults = dict(zip(checks, await asyncio.gather(*map(_ask, checks.values())), strict=True))
        ready = bool(checks) and not any(faults.values())
        return web.json_response({name: fault or "ok" for name, fault in faults.items()}, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition.generate_latest(), headers={"Content-Type": exposition.CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT:g} s"
