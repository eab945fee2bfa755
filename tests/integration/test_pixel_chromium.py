"""A mail in a real browser: who opens it has read it; and again when a proxy with a cache stands between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page
from uuid_utils.compat import uuid7

import status_store.app
from local_stack import binaries
from local_stack.processes import free_port
from local_stack.stack import HOST
from sender.compose import compose
from sender.copies import links
from status_store.settings import StatusStoreSettings
from tests import chromium
from tests.bench.peers import nginx
from tests.conftest import ROOT, eventually
from tests.pixels import serving
from tests.unit.mails import content, read
from tests.unit.samples import NOON, request
from tracepost.broker import publishing
from tracepost.events import Accepted, Delivered, event
from tracepost.http import serving as serve
from tracepost.tokens import Keyring

# Keeps whatever it is allowed to, as the proxies of mail providers do.
CACHE = """\
proxy_cache_path {folder}/cache keys_zone=images:1m;
server {{
    listen {host}:{port};
    location /may-be-kept.gif {{ proxy_pass {origin}; proxy_cache images; add_header X-Cache $upstream_cache_status; }}
    location / {{ proxy_pass {pixel}; proxy_cache images; add_header X-Cache $upstream_cache_status; }}
}}
server {{ listen {host}:{origin_port}; location / {{ expires 1h; empty_gif; }} }}
"""


@dataclass(frozen=True)
class Support:
    """The support team's side: mails that are delivered, and what became of them."""

    amqp_url: str
    keyring: Keyring
    api: str

    async def mail(self, pixel_url: str) -> tuple[UUID, str]:
        """The id of a delivered message, and its HTML as it arrived."""
        message_id = uuid7()
        own = links(self.keyring, message_id, 0, "ann@example.org", "full", "bounces.example", pixel_url)
        made = request(message_id=str(message_id), html="<html><body><p>Here is the answer.</p></body></html>")
        data = Accepted(
            recipient="ann@example.org", recipient_count=1, sender="s@example.org", subject_line="", app="app",
            rfc_message_id=own.rfc_message_id, track_opens="full", has_html=True, size=1,
        )  # fmt: skip
        async with publishing(self.amqp_url) as publisher:
            await publisher.publish(event("sender", message_id, 0, data))
            await publisher.publish(event("sender", message_id, 0, Delivered(origin="smtp")))
        return message_id, content(read(compose(made, own, NOON)), "html") or ""

    async def told(self, message_id: UUID) -> tuple[str, list[str]]:
        """The message's status, and the verdicts of its opens."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.api}/messages/{message_id}") as response:
                status = (await response.json()).get("status")
            async with session.get(f"{self.api}/messages/{message_id}/events") as response:
                events = (await response.json()).get("events", [])
        return status, [each["data"]["verdict"] for each in events if each["type"] == "tracepost.opened.v1"]

    async def says(self, message_id: UUID, status: str, verdicts: list[str]) -> bool:
        """Whether that is so by now."""
        assert await self.told(message_id) == (status, verdicts)
        return True


@pytest.fixture
async def support(broker: str, database: str, token_keys: str, keyring: Keyring) -> AsyncIterator[Support]:
    """With a status-store."""
    port = free_port()
    told = {"amqp_url": broker, "database_url": database, "token_keys": token_keys, "api_port": port}
    async with status_store.app.service(StatusStoreSettings.model_validate(told), {}):
        yield Support(broker, keyring, f"http://{HOST}:{port}/v1")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium.running() as browser:
        yield browser


def with_window(browser: Browser) -> str:
    """What Chromium calls itself where a person uses it."""
    version = f"{browser.version.split('.')[0]}.0.0.0"
    return f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version} Safari/537.36"


async def show(page: Page, html: str) -> None:
    """Open the mail as webmail does, images and all; from loopback, or the browser would not ask there for images."""

    async def mail(_: web.Request) -> web.Response:
        return web.Response(text=f'<link rel="icon" href="data:,">{html}', content_type="text/html")

    app = web.Application()
    app.router.add_get("/mail", mail)
    async with serve(app, HOST, 0) as port:
        await page.goto(f"http://{HOST}:{port}/mail", wait_until="load")
        assert await page.evaluate("document.images[0].naturalWidth") == 1


async def test_a_mail_in_chromium_is_read(support: Support, token_keys: str, tmp_path: Path, browser: Browser) -> None:
    async with serving(support.amqp_url, token_keys, tmp_path / "spool") as url:
        message_id, html = await support.mail(url)
        await eventually(partial(support.says, message_id, "delivered", []))
        async with chromium.page(browser) as robot:
            await show(robot, html)
        await eventually(partial(support.says, message_id, "delivered", ["bot"]))
        async with chromium.page(browser, user_agent=with_window(browser)) as person:
            await show(person, html)
        await eventually(partial(support.says, message_id, "read", ["bot", "person"]))


async def test_the_second_open_counts_through_a_proxy_that_caches(
    support: Support, token_keys: str, tmp_path: Path, browser: Browser
) -> None:
    try:
        program = nginx.program(ROOT / ".local" / "peers" / "nginx")
    except binaries.Missing as error:
        pytest.skip(str(error))
    origin = free_port()
    async with (
        serving(support.amqp_url, token_keys, tmp_path / "spool") as url,
        nginx.serving(
            program, tmp_path / "nginx", CACHE, pixel=url, origin=f"http://{HOST}:{origin}", origin_port=origin
        ) as (port, _),
        chromium.page(browser, user_agent=with_window(browser)) as page,
    ):
        proxy = f"http://{HOST}:{port}"
        assert [await cache_status(f"{proxy}/may-be-kept.gif") for _ in range(2)] == ["MISS", "HIT"]
        message_id, html = await support.mail(proxy)
        for count in (1, 2):
            await show(page, html)
            await eventually(partial(support.says, message_id, "read", ["person"] * count))


async def cache_status(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return response.headers["X-Cache"]
