"""Serving HTTP: clients, other origins, problem documents for every fault; the admin port's /livez /readyz /metrics."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from aiohttp import web
from prometheus_client import exposition
from pydantic import ValidationError
from pydantic_core import to_json

from tracepost.keys import LOCAL, Client, Keys, Scope
from tracepost.problems import PROBLEM_TYPE, Invalid, Problem, from_validation, of_faults, repeated

log = structlog.get_logger()

# A check answers None when all is well, else what is wrong.
Check = Callable[[], Awaitable[str | None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CHECK_TIMEOUT = 2.0
BACKLOG = 128  # connections that wait to be taken

INVALID = "invalid-request", "The request cannot be understood"
SAFE = ("GET", "HEAD", "OPTIONS")
SESSION_COOKIE, CONSOLE_HEADER = "tracepost-session", "Tracepost-Console"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, If-None-Match, Last-Event-ID, {CONSOLE_HEADER}",
    "Access-Control-Max-Age": "600",
}


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every fault with a problem document."""
    try:
        if twice := repeated([name for name, _ in request.query.items()]):
            raise Invalid(of_faults(twice, *INVALID))
        return await handler(request)
    except Invalid as error:
        problem = error.problem
    except ValidationError as error:
        problem = from_validation(error, *INVALID)
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
    client = _by_key(request, keys) if "Authorization" in request.headers else _by_session(request, keys)
    if client is None:
        detail = "send your API key as: Authorization: Bearer <key>"
        raise Invalid(Problem(code="unauthorized", title="No valid API key", status=401, detail=detail))
    if scope not in client.scopes:
        detail = f"the key of {client.client} lacks the scope {scope}"
        raise Invalid(Problem(code="forbidden", title="The API key does not allow this", status=403, detail=detail))
    return client


def bearer(request: web.Request) -> str:
    """The key that the request shows; empty without one."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _by_key(request: web.Request, keys: Keys) -> Client | None:
    return keys.find(bearer(request))


def _by_session(request: web.Request, keys: Keys) -> Client | None:
    client = keys.of_session(request.cookies.get(SESSION_COOKIE, ""))
    # A form of another page can bring the cookie, and no header.
    if client and request.method not in SAFE and request.headers.get(CONSOLE_HEADER) != "1":
        detail = f"a request that changes something by a session needs the header {CONSOLE_HEADER}: 1"
        raise Invalid(Problem(code="console-header-missing", title="Not by a session", status=403, detail=detail))
    return client


def allow_origins(app: web.Application, origins: Collection[str], *, sessions: bool = False) -> None:
    """Let pages of these origins use the API (`*`: of all), with their users' sessions only if `sessions`.

    Others can neither read an answer nor send what changes something.
    """

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=PREFLIGHT if _allowed(origin) else {})
        if origin and request.method not in SAFE and not (_allowed(origin) or _own(origin, request)):
            detail = f"add {origin} to CORS_ORIGINS, if its pages are to use this API"
            raise Invalid(Problem(code="other-origin", title="Not for pages of this origin", status=403, detail=detail))
        return await handler(request)

    async def told(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if origin and _allowed(origin):
            response.headers.update({"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "ETag"})
            if sessions and origin in origins:
                response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Vary"] = "Origin"

    def _allowed(origin: str) -> bool:
        return origin in origins or "*" in origins

    app.middlewares.append(checked)
    app.on_response_prepare.append(told)


def _own(origin: str, request: web.Request) -> bool:
    return origin.partition("://")[2] == request.host


def uuid_of(request: web.Request, name: str = "id") -> UUID:
    """An id in the request's path; Invalid where it is none."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise Invalid(Problem(code="invalid-id", title="A message's id is a UUID", status=400)) from None


def answer(told: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON of anything that pydantic can write."""
    return web.Response(body=to_json(told), status=status, content_type="application/json", headers=headers)


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, taking: socket.socket | None = None
) -> AsyncIterator[int]:
    """Serve there, or what connects to `taking`, until the block ends, open requests finished; yields the port."""
    async with answering(app) as protocol, listening(protocol, host, port, taking) as taken:
        yield taken


@asynccontextmanager
async def answering(app: web.Application) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
    """What speaks HTTP on a connection, each time a new one; at the end of the block open requests are finished."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    assert runner.server
    try:
        yield runner.server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(
    protocol: Callable[[], asyncio.Protocol], host: str, port: int, taking: socket.socket | None = None
) -> AsyncIterator[int]:
    """Take connections there, or those of `taking`, until the block ends; yields the port."""
    loop = asyncio.get_running_loop()
    server = await (
        loop.create_server(protocol, sock=taking, backlog=BACKLOG)
        if taking
        else loop.create_server(protocol, host, port, backlog=BACKLOG)
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


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
