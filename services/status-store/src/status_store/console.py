"""What browsers load: the console and the badge, files that are served as they are, under a strict security policy."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web
from yarl import URL

from tracepost.http import Handler, answer

# Scripts and styles come from files of ours alone, and no string becomes markup or code.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect};"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'none';"
    " trusted-types 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Cache-Control": "no-cache",  # asked again each time, and answered by 304
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Any page may load the badge, whatever its own policies are.
_BADGE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


def routes(sender: str | None, bounce_ingest: str | None) -> list[web.RouteDef]:
    """`/`, `/assets/…`, `/badge.js`, `/console.json`; the addresses are where browsers reach these services' APIs."""
    static = files("status_store") / "static"
    others = {str(URL(each).origin()) for each in (sender, bounce_ingest) if each}
    policy = {"Content-Security-Policy": _POLICY.format(connect=" ".join(["'self'", *sorted(others)]))}

    async def settings(_: web.Request) -> web.Response:
        return answer({"sender_url": sender, "bounce_ingest_url": bounce_ingest}, headers=_HEADERS)

    return [
        web.get("/", _serving(static / "console" / "index.html", _HEADERS | policy)),
        web.get("/badge.js", _serving(static / "badge.js", _HEADERS | _BADGE)),
        web.get("/console.json", settings),
        *(web.get(f"/assets/console/{file.name}", _serving(file, _HEADERS)) for file in _assets(static / "console")),
    ]


def _assets(folder: Traversable) -> Iterator[Traversable]:
    return (file for file in folder.iterdir() if file.name != "index.html")


def _serving(file: Traversable, headers: dict[str, str]) -> Handler:
    body = file.read_bytes()
    etag = f'"{sha256(body).hexdigest()[:16]}"'
    kind = "text/javascript" if file.name.endswith(".js") else mimetypes.guess_type(file.name)[0]

    async def served(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers | {"ETag": etag})
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers | {"ETag": etag})

    return served
