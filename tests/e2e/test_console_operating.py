"""The console's pages that call the sender and bounce-ingest from the browser."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from local_stack.stack import BOUNCE_DOMAIN, HOST, Stack
from tests import chromium
from tests.bouncing import send
from tests.conftest import eventually
from tests.e2e.asking import answered, has_status, request, sent, suppressed
from tests.running import running
from tracepost.http import allow_origins, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = "<img src=x onerror='window.harm = 1'>"


async def decide(page: Page, button: str, label: str) -> None:
    """Press it, and say why."""
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label(label).fill("the customer called")
    await dialog.get_by_role("button", name=button).click()
    await expect(dialog).to_have_count(0)


async def test_from_a_bounce_to_its_suppression_and_back(stack: Stack, page: Page) -> None:
    id_, recipient = await sent(stack, "unknown-user", "hard_bounce")
    await eventually(lambda: suppressed(stack, recipient))
    await page.goto(f"{stack.console_url}#/messages/{id_}")
    await page.get_by_role("link", name="Is this address suppressed?").click()
    assert recipient not in page.url
    await expect(page.get_by_text(f"{recipient} is not written to")).to_be_visible()
    await expect(page.locator(".timeline blockquote")).to_contain_text("5.1.1")
    await chromium.assert_open_to_all(page)
    await page.get_by_role("button", name="Write to it again").click()
    await decide(page, "Write again", "Why")
    await expect(page.get_by_text(f"{recipient} is written to")).to_be_visible()
    assert not await suppressed(stack, recipient)
    await page.get_by_role("button", name="Write to it no more").click()
    await decide(page, "Suppress", "Why")
    await expect(page.locator(".card").first).to_contain_text("Manual")


async def test_a_destination_is_paused_and_a_message_is_sent_ahead_of_its_time(stack: Stack, page: Page) -> None:
    domain = f"{secrets.token_hex(4)}.test"
    told = request(to=[f"delivered@{domain}"], send_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await answered(stack, json.dumps(told).encode())
    await eventually(lambda: has_status(stack, told["message_id"], "queued"))
    await page.goto(f"{stack.console_url}#/queue")
    line = page.get_by_role("row").filter(has_text=domain)
    await line.get_by_role("button", name="Pause").click()
    await decide(page, "Pause", "Reason")
    await expect(line).to_contain_text("Paused by local: the customer called")
    await line.get_by_role("button", name="Resume").click()
    await decide(page, "Resume", "Reason")
    await expect(line).not_to_contain_text("Paused")
    await chromium.assert_open_to_all(page)
    await page.goto(f"{stack.console_url}#/messages/{told['message_id']}")
    await page.get_by_role("link", name="In the queue").click()
    await page.get_by_role("button", name="Try now").click()
    await decide(page, "Try now", "Reason")
    await eventually(lambda: has_status(stack, told["message_id"], "delivered"))


async def test_a_report_that_nobody_understands_is_decided_by_a_person(stack: Stack, page: Page) -> None:
    id_, _ = await sent(stack, "delivered", "delivered")
    subject = f"{SCRIPT} {secrets.token_hex(4)}"
    mail = f"Subject: {subject}\r\n\r\nThis did not come through.\r\n".encode()
    await send(int(stack.environment["TRACEPOST_BOUNCE_INGEST_SMTP_PORT"]), mail, f"postmaster@{BOUNCE_DOMAIN}")
    await page.goto(f"{stack.console_url}#/quarantine")
    line = page.locator(".pile a").filter(has_text=subject)
    await line.click()
    await expect(page.locator(".letter pre")).to_contain_text("This did not come through.")
    await chromium.assert_open_to_all(page)
    await page.get_by_role("button", name="Run again").click()
    await expect(page.get_by_text("Still held: not understood.")).to_be_visible()
    await page.get_by_role("button", name="Say what it is").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Message").fill(id_)
    await dialog.get_by_role("button", name="Record it").click()
    await expect(line).to_have_count(0)
    await eventually(lambda: has_status(stack, id_, "failed"))  # a person's word is no proof of a hard bounce
    assert await page.evaluate("window.harm") is None


@asynccontextmanager
async def bounce_ingest(origins: Collection[str]) -> AsyncIterator[str]:
    """One report in quarantine, at an API that asks for a key."""
    report = {"id": "1", "reason": "no_token", "received_at": datetime.now(UTC).isoformat(), "subject": SCRIPT}

    async def listed(asked: web.Request) -> web.Response:
        if asked.headers.get("Authorization") != "Bearer tp_right":
            return web.json_response({"title": "No valid API key"}, status=401)
        return web.json_response({"reports": [report], "cursor": None})

    async def shown(_: web.Request) -> web.Response:
        return web.json_response(report | {"raw": f"Subject: {SCRIPT}"})

    app = web.Application()
    allow_origins(app, origins, sessions=True)
    app.router.add_get("/v1/quarantine", listed)
    app.router.add_get("/v1/quarantine/1", shown)
    async with serving(app, HOST, 0) as port:
        yield f"http://{HOST}:{port}"


async def test_what_is_not_configured_is_hidden_and_the_quarantine_asks_for_its_own_key(
    broker: str, database: str, browser: Browser
) -> None:
    origins = ["https://desk.test"]
    async with (
        bounce_ingest(origins) as url,
        running(broker, database, bounce_ingest_url=url) as store,
        chromium.page(browser, "401 (Unauthorized)") as page,
    ):
        origins.append(store.url.removesuffix("/v1"))
        login = await store.ask("POST", "/session/login")
        await page.goto(f"{store.url.removesuffix('v1')}?login={login['login']}")
        await expect(page.get_by_role("link", name="Quarantine")).to_be_visible()
        assert await page.get_by_role("link", name="Suppressions").count() == 0
        assert await page.get_by_role("link", name="Queue").count() == 0
        await page.get_by_role("link", name="Quarantine").click()
        await page.get_by_role("dialog").get_by_label("API key").fill("tp_right")
        await page.keyboard.press("Enter")
        await expect(page.locator(".pile .subject")).to_have_text(SCRIPT)
        await page.locator(".pile a").click()
        await expect(page.locator(".letter pre")).to_have_text(f"Subject: {SCRIPT}")
        assert await page.evaluate("window.harm") is None
