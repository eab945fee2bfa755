"""The badge in a help desk's page, in Chromium: every state, both schemes, keyboard, live, with the server away."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from playwright.async_api import Browser, Locator, Page, expect
from uuid_utils.compat import uuid7

from local_stack.processes import free_port
from local_stack.stack import HOST, Stack
from status_store.app import service
from status_store.settings import StatusStoreSettings
from tests import chromium
from tests.conftest import ROOT, eventually
from tests.e2e.asking import answered, query, request, timeline
from tests.e2e.desk import desk
from tests.running import TOKEN_KEYS
from tracepost.broker import Publisher, publishing
from tracepost.events import Accepted, Delivered, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

BADGE = ROOT / "services/status-store/src/status_store/static/badge.js"
# By the simulator's behaviour: the status, and what the badge says.
STATES = {
    "delivered": ("delivered", "Delivered"),
    "read": ("read", "Read"),
    "deferred": ("deferred", "Sending (delayed)"),
    "unknown-user": ("hard_bounce", "Delivery issue: hard bounce"),
    "read-then-returned": ("hard_bounce", "Delivery issue: hard bounce"),
    "mailbox-full": ("failed", "Delivery issue"),
    "spam": ("spam", "Delivery issue: spam"),
    "prefetched": ("delivered", "Delivered"),
    "dies-after": ("unknown", "Sent, outcome unknown"),
}
EVENTS = {"prefetched": 3, "read-then-returned": 4}
TAG = secrets.token_hex(4)  # the simulator, and the suppression list, know addresses again
LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def tell(stack: Stack, *told: dict[str, Any]) -> list[str]:
    """The ids of messages that are sent."""
    requests = [request(html="<p>Hello</p>", **each) for each in told]
    await answered(stack, *(json.dumps(each).encode() for each in requests))
    return [each["message_id"] for each in requests]


async def reached(stack: Stack, id_: str, status: str, events: int = 2) -> None:
    """Wait for it."""

    async def look() -> bool:
        return bool((await query(stack, f"messages/{id_}")).get("status") == status)

    await eventually(look)
    await timeline(stack, id_, events)


async def posted(url: str, body: object) -> Any:
    async with aiohttp.request("POST", url, json=body) as response:
        assert response.status < 300, await response.text()
        return await response.json()


async def tokens(stack: Stack, ids: list[str]) -> dict[str, str]:
    """View tokens for the badges."""
    told = await asyncio.gather(*(posted(f"{stack.query_url}/messages/{id_}/view-token", {}) for id_ in ids))
    return {id_: each["token"] for id_, each in zip(ids, told, strict=True)}


def badge(page: Page, id_: str) -> Locator:
    return page.locator(f'tracepost-status[message="{id_}"]')


async def panel(page: Page, id_: str) -> str:
    """What the opened panel says."""
    await badge(page, id_).get_by_role("button").click()
    opened = badge(page, id_).get_by_role("group")
    await expect(opened).to_be_visible()
    text = await opened.inner_text()
    await page.keyboard.press("Escape")
    await expect(opened).to_be_hidden()
    return text


async def test_it_is_one_small_file(stack: Stack) -> None:
    async with aiohttp.request("GET", f"{stack.console_url}badge.js") as response:
        assert await response.text() == BADGE.read_text("utf-8")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert BADGE.stat().st_size < 15_000
    assert "import " not in BADGE.read_text("utf-8")


async def test_every_state_is_told_in_words_icon_and_colour(stack: Stack, browser: Browser) -> None:
    tell_all: list[dict[str, Any]] = [{"to": [f"{behaviour}+{TAG}@simulator.test"]} for behaviour in STATES]
    tell_all[-1] |= {"on_unknown": "park"}
    *ids, three, plain, waits, called_off = await tell(
        stack,
        *tell_all,
        {"to": [f"{each}+{TAG}@simulator.test" for each in ("read", "read-gmail", "delivered")]},
        {"to": ["delivered+off@simulator.test"], "track_opens": "off"},
        {"send_at": LATER},
        {"send_at": LATER},
    )
    await posted(f"{stack.sender_url}/messages/{called_off}/cancel", {"reason": "a mistake"})
    by_behaviour = dict(zip(STATES, ids, strict=True))
    for behaviour, (status, _) in STATES.items():
        await reached(stack, by_behaviour[behaviour], status, EVENTS.get(behaviour, 2))
    await reached(stack, three, "read", 8)
    for id_, status, events in ((waits, "queued", 1), (plain, "delivered", 2), (called_off, "cancelled", 2)):
        await reached(stack, id_, status, events)
    [again] = await tell(stack, {"to": [f"unknown-user+{TAG}@simulator.test"]})
    await reached(stack, again, "rejected")
    shown = {by_behaviour[name]: words for name, (_, words) in STATES.items()}
    shown |= {three: "Read by 2 of 3", plain: "Delivered", waits: "Sending", called_off: "Cancelled"}
    shown[again] = "Delivery issue: rejected"
    async with desk(stack.console_url.rstrip("/"), await tokens(stack, list(shown))) as url:
        async with chromium.page(browser) as page:
            await page.goto(url)
            tones: dict[str, set[str]] = {}
            for id_, words in shown.items():
                button = badge(page, id_).get_by_role("button")
                await expect(button).to_have_text(words)
                assert await button.locator("svg path").count() == 1
                tone = await button.evaluate("button => getComputedStyle(button).color")
                tones.setdefault(await button.get_attribute("class") or "", set()).add(tone)
            assert set(tones) == {"sending", "delayed", "delivered", "read", "issue"}
            assert len({frozenset(each) for each in tones.values()}) == 5
            assert "may still process it" in await panel(page, by_behaviour["delivered"])
            assert "Opened by a privacy proxy" in await panel(page, by_behaviour["prefetched"])
            assert "Read tracking off" in await panel(page, plain)
            returned = await panel(page, by_behaviour["read-then-returned"])
            assert "Delivered, then returned" in returned
            assert "The address does not exist." in returned
            assert "User unknown in local recipient table" in returned
            assert "read-then-returned" not in returned  # of addresses no more than a masked one
            assert f"Read {datetime.now(UTC).day} " in returned
            assert (await panel(page, three)).count("@simulator.test") == 3
            await chromium.assert_open_to_all(page)
        async with chromium.page(browser, color_scheme="dark") as page:
            await page.goto(url)
            await badge(page, again).get_by_role("button").click()
            await expect(badge(page, again)).to_contain_text("earlier mail to this address came back")
            assert (
                await badge(page, again).get_by_role("button").evaluate("button => getComputedStyle(button).color")
                not in tones["issue"]
            )
            await chromium.assert_open_to_all(page)


async def test_it_speaks_another_language_from_right_to_left_and_its_texts_can_be_replaced(
    stack: Stack, page: Page
) -> None:
    [id_, full] = await tell(stack, {}, {"to": [f"mailbox-full+{TAG}@simulator.test"]})
    await reached(stack, id_, "delivered")
    await reached(stack, full, "failed")
    async with desk(stack.console_url.rstrip("/"), await tokens(stack, [id_, full]), lang="de", direction="rtl") as url:
        await page.goto(url)
        await expect(badge(page, id_).get_by_role("button")).to_have_text("Zugestellt")
        assert "Das Postfach ist voll." in await panel(page, full)
        await badge(page, id_).get_by_role("button").click()
        button, opened = [await badge(page, id_).get_by_role(role).bounding_box() for role in ("button", "group")]
        assert button
        assert opened
        assert opened["x"] == pytest.approx(button["x"] + button["width"] - opened["width"], abs=1)
        await page.evaluate("customElements.get('tracepost-status').texts.de.delivered = 'Ist da'")
        await badge(page, id_).evaluate("badge => badge.refresh()")
        await expect(badge(page, id_).get_by_role("button")).to_have_text("Ist da")


async def test_the_keyboard_opens_and_closes_it(stack: Stack, page: Page) -> None:
    [id_] = await tell(stack, {})
    await reached(stack, id_, "delivered")
    async with desk(stack.console_url.rstrip("/"), await tokens(stack, [id_])) as url:
        await page.goto(url)
        button, opened = badge(page, id_).get_by_role("button"), badge(page, id_).get_by_role("group")
        await expect(button).to_have_text("Delivered")
        await page.keyboard.press("Tab")
        await expect(button).to_be_focused()
        assert await button.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
        await page.keyboard.press("Enter")
        await expect(opened).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(opened).to_be_hidden()
        await expect(button).to_be_focused()


async def test_a_change_is_shown_and_told_without_a_reload(stack: Stack, page: Page) -> None:
    [id_] = await tell(stack, {"to": [f"read+live{TAG}@simulator.test"], "send_at": LATER})
    await reached(stack, id_, "queued", 1)
    async with desk(stack.console_url.rstrip("/"), await tokens(stack, [id_])) as url:
        await page.goto(url)
        await expect(badge(page, id_).get_by_role("button")).to_have_text("Sending")
        await page.evaluate("addEventListener('tracepost-status', (event) => { window.told = event.detail })")
        await posted(f"{stack.sender_url}/deliveries/{id_}/0/retry", {"reason": "now"})
        await expect(badge(page, id_).get_by_role("button")).to_have_text("Read")
        await expect(badge(page, id_).get_by_role("status")).to_have_text("Read")
        assert (await page.evaluate("window.told"))["message"] == id_


@asynccontextmanager
async def store(broker: str, database: str, port: int) -> AsyncIterator[Publisher]:
    """A status-store that can be stopped, and a publisher of events."""
    told = {"amqp_url": broker, "database_url": database, "token_keys": TOKEN_KEYS, "api_port": port}
    settings = StatusStoreSettings.model_validate(told | {"cors_origins": "*"})
    async with service(settings, {}), publishing(broker) as publisher:
        yield publisher


async def accepted(publisher: Publisher, port: int) -> tuple[str, dict[str, str]]:
    """A message that is known, and its token."""
    id_ = uuid7()
    data = Accepted(
        recipient="ann@example.org", recipient_count=1, sender="desk@example.org", subject_line="", app="desk",
        rfc_message_id="<1@example.org>", track_opens="full", has_html=True, size=1,
    )  # fmt: skip
    await publisher.publish(event("sender", id_, 0, data))

    async def view_token() -> str:
        async with aiohttp.request("POST", f"http://{HOST}:{port}/v1/messages/{id_}/view-token") as response:
            return str((await response.json()).get("token", ""))

    return str(id_), {str(id_): await eventually(view_token)}


async def test_it_outlives_a_restart_of_the_server(broker: str, database: str, browser: Browser) -> None:
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with chromium.page(browser, "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE") as page:
        async with store(broker, database, port) as publisher:
            id_, told = await accepted(publisher, port)
            async with desk(origin, told, port=0) as url:
                await page.goto(url)
                await expect(badge(page, id_).get_by_role("button")).to_have_text("Sending")
        await expect(badge(page, id_).get_by_role("button")).to_have_text("Sending")
        async with store(broker, database, port) as publisher:
            await publisher.publish(event("sender", UUID(id_), 0, Delivered(origin="smtp")))
            await expect(badge(page, id_).get_by_role("button")).to_have_text("Delivered", timeout=40_000)


async def test_it_polls_where_no_stream_comes_through_and_tells_when_its_token_is_no_good(
    broker: str, database: str, browser: Browser
) -> None:
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with (
        store(broker, database, port) as publisher,
        chromium.page(browser, "ERR_FAILED", "401 (Unauthorized)") as page,
    ):
        id_, told = await accepted(publisher, port)
        await page.route("**/badge/live*", lambda route: route.abort())
        async with desk(origin, told, port=0) as url:
            await page.goto(url)
            await expect(badge(page, id_).get_by_role("button")).to_have_text("Sending")
            await publisher.publish(event("sender", UUID(id_), 0, Delivered(origin="smtp")))
            await expect(badge(page, id_).get_by_role("button")).to_have_text("Delivered", timeout=40_000)
            await page.evaluate("addEventListener('tracepost-expired', (event) => { window.expired = event.detail })")
            await badge(page, id_).evaluate("badge => badge.setAttribute('token', 'x' + badge.getAttribute('token'))")
            await eventually(
                lambda: page.evaluate("Boolean(window.expired)"), 30
            )  # no waiting in the page: it may not eval
            assert "This view has expired" in await panel(page, id_)
            await badge(page, id_).evaluate("(badge, token) => badge.setAttribute('token', token)", told[id_])
            await expect(badge(page, id_).get_by_role("button")).to_have_text("Delivered")
            assert "expired" not in await panel(page, id_)
