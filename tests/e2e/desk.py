"""A help desk of somebody else: a page on another origin that shows badges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from local_stack.processes import free_port
from local_stack.stack import HOST
from tracepost.http import serving

PORT = free_port()
DESK = f"http://{HOST}:{PORT}"
POLICY = "default-src 'none'; img-src data:; style-src 'self'; script-src {origin}; connect-src {origin}"
STYLE = ":root { color-scheme: light dark; background: light-dark(#fff, #12171b); color: light-dark(#000, #fff); }"
PAGE = """<!doctype html><html lang="{lang}" dir="{dir}"><head><meta charset="utf-8"><title>A ticket</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/desk.css">
<script type="module" src="{origin}/badge.js"></script></head>
<body><main><h1>A ticket</h1>{badges}</main></body></html>"""


@asynccontextmanager
async def desk(
    origin: str, tokens: Mapping[str, str], *, lang: str = "en-GB", direction: str = "ltr", port: int = PORT
) -> AsyncIterator[str]:
    """Serve the page with a badge for each message (id → view token); yields its address."""
    badges = "".join(
        f'<p><tracepost-status message="{id_}" token="{token}"></tracepost-status></p>' for id_, token in tokens.items()
    )

    async def show(_: web.Request) -> web.Response:
        text = PAGE.format(lang=lang, dir=direction, origin=origin, badges=badges)
        headers = {"Content-Security-Policy": POLICY.format(origin=origin)}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def style(_: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    app = web.Application()
    app.router.add_get("/desk.css", style)
    app.router.add_get("/", show)
    async with serving(app, HOST, port) as at:
        yield f"http://{HOST}:{at}/"
