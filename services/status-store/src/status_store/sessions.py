"""Sessions of the console: a key, or a login made with one, is turned into a cookie that scripts cannot read."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from status_store.asked import SignIn
from status_store.logins import Logins
from tracepost.http import SESSION_COOKIE, answer, bearer, client_of
from tracepost.keys import LOCAL, SESSION_LIFETIME, Client, Keys, hashed
from tracepost.problems import Invalid, Problem


def routes(logins: Logins, keys: Keys) -> list[web.RouteDef]:
    """`/v1/session` and `/v1/session/login`, which makes what a link may carry."""

    async def begun(request: web.Request) -> web.Response:
        asked = SignIn.model_validate_json(await request.read())
        if not keys:
            return answer(_told(LOCAL))
        key_hash = hashed(asked.key) if asked.key else await _used(asked.login or "")
        client = keys.of_hash(key_hash)
        if client is None:
            raise _refused()
        sealed, ends = keys.session(key_hash)
        response = answer(_told(client, ends))
        response.set_cookie(
            SESSION_COOKIE,
            sealed,
            max_age=int(SESSION_LIFETIME.total_seconds()),
            httponly=True,
            samesite="Strict",
            secure=request.headers.get("X-Forwarded-Proto", request.scheme) == "https",
        )
        return response

    async def _used(login: str) -> str:
        claim = keys.of_login(login)
        if claim is None or not await logins.use(claim[0]):
            raise _refused()
        return claim[1]

    async def shown(request: web.Request) -> web.Response:
        return answer(_told(client_of(request, keys, "read")))

    async def ended(_: web.Request) -> web.Response:
        response = web.Response(status=204)
        response.del_cookie(SESSION_COOKIE)
        return response

    async def login(request: web.Request) -> web.Response:
        client_of(request, keys, "read")
        if keys and not bearer(request):
            raise _refused()
        sealed, ends = keys.login(hashed(bearer(request)))
        return answer({"login": sealed, "expires_at": ends})

    return [
        web.post("/v1/session", begun),
        web.get("/v1/session", shown),
        web.delete("/v1/session", ended),
        web.post("/v1/session/login", login),
    ]


def _told(client: Client, ends: datetime | None = None) -> dict[str, object]:
    """Who is signed in; the end is known only when it begins."""
    return {"client": client.client, "app": client.app, "scopes": sorted(client.scopes), "expires_at": ends}


def _refused() -> Invalid:
    detail = "it needs a key of API_KEYS; or the link was used before or is older than five minutes"
    return Invalid(Problem(code="unauthorized", title="Not signed in", status=401, detail=detail))
