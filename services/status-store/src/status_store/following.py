"""The API of changes: pages that wait for what comes (long poll), and a stream (server-sent events)."""

from __future__ import annotations

import asyncio
from functools import partial

from aiohttp import web

from status_store.asked import Following
from status_store.cursors import Cursor, Page
from status_store.feed import Feed
from status_store.live import AT_ONCE, POLL_SECONDS, Follower, Live, happens, told
from status_store.sse import HEARTBEAT, HEARTBEAT_SECONDS, cut, streaming
from tracepost.http import client_of
from tracepost.keys import ANY, Keys


def routes(feed: Feed, live: Live, keys: Keys) -> list[web.RouteDef]:
    """`GET /v1/changes`."""

    async def changes(request: web.Request) -> web.StreamResponse:
        client = client_of(request, keys, "read")
        asked = _asked(request)
        app = None if client.app == ANY else client.app
        start = await (feed.known(asked.cursor) if asked.cursor else feed.now())
        with live.interest():
            if "text/event-stream" in request.headers.get("Accept", ""):
                return await _stream(feed, live, request, app, start)
            page = await _page(feed, live, asked, app, start)
        text = f'{{"changes":[{",".join([each.text for each in page.items])}],"cursor":"{page.end}"}}'
        return web.Response(text=text, content_type="application/json")

    return [web.get("/v1/changes", changes)]


def _asked(request: web.Request) -> Following:
    """A browser that comes back says by a header where it was."""
    query = dict(request.query)
    if last := request.headers.get("Last-Event-ID"):
        query["cursor"] = last
    return Following.model_validate(query)


async def _page(feed: Feed, live: Live, asked: Following, app: str | None, start: Cursor) -> Page:
    """What there is, or what comes before the client has waited long enough."""
    end = asyncio.get_running_loop().time() + asked.wait
    while True:
        moved = live.moved
        page = await feed.after(start, asked.limit, app)
        left = end - asyncio.get_running_loop().time()
        if page.items or left <= 0 or live.ended:
            return page
        start = page.end
        if not page.more:
            await happens(moved, left)


async def _stream(feed: Feed, live: Live, request: web.Request, app: str | None, start: Cursor) -> web.StreamResponse:
    async with streaming(request) as response:
        follower = await _caught_up(feed, live, request, response, app, start)
        try:
            while not live.ended:
                arrived = await happens(follower.arrived, HEARTBEAT_SECONDS)
                await response.write(follower.take() if arrived else HEARTBEAT)
        finally:
            live.leave(follower)
    return response


async def _caught_up(
    feed: Feed, live: Live, request: web.Request, response: web.StreamResponse, app: str | None, start: Cursor
) -> Follower:
    """Send what is there already, up to where the live feed is."""
    while not (follower := live.follow(app, start, partial(cut, request))):
        moved = live.moved
        page = await feed.after(start, AT_ONCE, app)
        if page.items:
            await response.write(told(page.items))
        start = page.end
        if not page.more:
            await happens(moved, POLL_SECONDS)
    return follower
