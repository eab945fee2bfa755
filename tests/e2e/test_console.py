"""The console in Chromium: sign-in, search, the live list, the keyboard; stored script is text; open to all."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aio_pika
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect
from uuid_utils.compat import uuid7

from local_stack.stack import Servers, create_database
from tests import chromium
from tests.conftest import eventually, virtual_host
from tests.running import ALL, SHOP, Running, running
from tracepost.events import Accepted, AnyEvent, Bounced, Delivered, Opened, event
from tracepost.topology import EVENTS

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = "<script>window.harm = 1</script><img src=x onerror='window.harm = 2'>"
PAGES = ("messages", "statistics", "dead-letters")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def store(servers: Servers) -> AsyncIterator[Running]:
    """A status-store with keys, of these tests alone; newer messages stand above older ones."""
    name = f"test_{secrets.token_hex(4)}"
    await create_database(servers.postgres_url, name)
    async with virtual_host(servers) as broker, running(broker, f"{servers.postgres_url}/{name}") as store:
        yield store


def address(store: Running) -> str:
    return store.url.removesuffix("v1")


def sent(subject: str, *, days: float = 0, recipients: int = 1, **told: Any) -> tuple[UUID, list[AnyEvent]]:
    """A message that was accepted and delivered, and its events."""
    id_ = uuid7(nanoseconds=int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1e9))
    found: list[AnyEvent] = []
    for number in range(recipients):
        accepted: dict[str, Any] = {
            "recipient": f"ann{number}@example.org", "recipient_count": recipients, "sender": "desk@example.org",
            "subject_line": subject, "rfc_message_id": f"<{id_}@example.org>", "app": "shop", "track_opens": "full",
            "has_html": True, "size": 1,
        }  # fmt: skip
        found += [
            event("sender", id_, number, Accepted(**accepted | told)),
            event("sender", id_, number, Delivered(origin="smtp", response="2.0.0 queued")),
        ]
    return id_, found


def refused(words: str, **told: Any) -> Bounced:
    """A hard bounce."""
    refusal = {"bounce_class": "hard", "category": "invalid_recipient", "rule": "recipient-unknown", "origin": "smtp"}
    return Bounced(diagnostic=words, attempt=1, certainty="exact", **refusal | told)


def read(id_: UUID) -> AnyEvent:
    return event("pixel", id_, 0, Opened(verdict="person", rule="thunderbird", client="Thunderbird"))


def rows(page: Page) -> Locator:
    return page.get_by_role("listbox").get_by_role("option")


async def sign_in(page: Page, store: Running, key: str = ALL, at: str = "") -> None:
    """By the form."""
    await page.goto(f"{address(store)}#/{at}")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("navigation")).to_be_visible()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page whose console stays without a fault, but for the answer to who is not signed in."""
    async with chromium.page(browser, "401 (Unauthorized)") as page:
        yield page


async def test_a_key_signs_in_to_a_session_that_no_script_can_read(store: Running, page: Page) -> None:
    id_, events = sent("Your tent")
    await store.publish(*events)
    await page.goto(address(store))
    await page.get_by_label("API key").fill("tp_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This key is not known here.")
    await chromium.assert_open_to_all(page)
    await page.get_by_label("API key").fill(SHOP)
    await page.keyboard.press("Enter")
    await expect(rows(page).first).to_contain_text("Your tent")
    [cookie] = await page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert (
        await page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"
    )
    await page.reload()
    await expect(rows(page).first).to_contain_text("Your tent")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    assert await page.context.cookies() == []
    login = await store.ask("POST", "/session/login")
    await page.goto(f"{address(store)}?login={login['login']}#/messages/{id_}")
    await expect(page.get_by_role("article")).to_contain_text("Your tent")
    assert "login" not in page.url


async def test_stored_script_is_text_everywhere(store: Running, page: Page) -> None:
    id_, events = sent(
        SCRIPT, reference=SCRIPT, sender=f'"{SCRIPT}" <desk@example.org>', recipient=f'"{SCRIPT}"@example.org',
        tags=[SCRIPT], metadata={SCRIPT: SCRIPT},
    )  # fmt: skip
    await store.publish(*events, event("sender", id_, 0, refused(SCRIPT, remote_mta=SCRIPT)))
    letter = await bury(store, SCRIPT)
    await sign_in(page, store)
    await expect(page.locator(".issues a").first).to_contain_text(SCRIPT)
    await rows(page).first.click()
    opened = page.get_by_role("article")
    await expect(opened.locator("blockquote").last).to_have_text(SCRIPT)
    await opened.get_by_text("Particulars").click()
    for part in (".from", "h2", ".to", ".tags span", ".facts dt:last-of-type", ".facts dd:last-of-type"):
        await expect(opened.locator(part).first).to_contain_text(SCRIPT)
    await opened.locator("tracepost-status").get_by_role("button").click()
    await expect(opened.locator("tracepost-status blockquote")).to_have_text(SCRIPT)
    await page.keyboard.press("Escape")
    await page.get_by_role("link", name="Dead letters").click()
    await page.locator(f'.pile a[href$="{letter}"]').click()
    await expect(page.locator(".letter pre").first).to_contain_text("window.harm")
    assert await page.evaluate("window.harm") is None
    assert await page.locator("main script, main img").count() == 0


async def test_markup_cannot_be_made_of_a_string(store: Running, browser: Browser) -> None:
    async with chromium.page(browser, "401 (Unauthorized)", "TrustedHTML") as page:
        await _refused(store, page)


async def _refused(store: Running, page: Page) -> None:
    response = await page.goto(address(store))
    assert response
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    refusal = (
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'taken' } catch (error) { return error.name } }"
    )
    assert await page.evaluate(refusal) == "TypeError"
    await page.context.clear_cookies()


async def bury(store: Running, body: str) -> str:
    """Publish what is no event; the id of its dead letter."""
    before = await letters(store)
    message = aio_pika.Message(json.dumps(body).encode(), content_type="application/cloudevents+json")
    await store.publisher.send(message, EVENTS, "delivered")

    async def buried() -> set[str]:
        return await letters(store) - before

    return (await eventually(buried)).pop()


async def letters(store: Running) -> set[str]:
    return {each["id"] for each in (await store.ask("GET", "/dead-letters", limit=500))["dead_letters"]}


async def test_the_keyboard_leads_through_the_list(store: Running, page: Page) -> None:
    for subject in ("First", "Second", "Third"):
        await store.publish(*sent(subject)[1])
    await sign_in(page, store)
    await expect(rows(page).first).to_contain_text("Third")
    await page.get_by_role("listbox").focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("article")).to_contain_text("Second")
    await expect(page.locator(".row[aria-selected=true]")).to_contain_text("Second")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("article")).to_have_count(0)
    await expect(page.get_by_role("listbox")).to_be_focused()
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("no-such-ticket")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="No message is like that")).to_be_visible()
    await page.get_by_role("link", name="Show all messages").click()
    await expect(rows(page).first).to_contain_text("Third")


async def test_changes_appear_by_themselves(store: Running, page: Page) -> None:
    id_, events = sent("Your tent", reference="T-1", recipients=2)
    await store.publish(*events)
    await sign_in(page, store, at=f"messages/{id_}")
    badge = page.locator("tracepost-status").get_by_role("button")
    await expect(badge).to_have_text("Delivered")
    await expect(page.locator(".live")).to_have_text("Live")
    await store.publish(read(id_))
    await expect(badge).to_have_text("Read by 1 of 2")
    await expect(rows(page).first).to_contain_text("Read (1 of 2)")
    await expect(page.locator(".timeline .decides")).to_contain_text(["Opened by a person", "Taken by the receiving"])
    await store.publish(*sent("A new one", reference="T-1")[1])
    await expect(rows(page).first).to_contain_text("A new one")


async def test_a_ticket_shows_all_its_messages_and_why(store: Running, page: Page) -> None:
    first, events = sent("Your tent", days=2, reference="T-7")
    last, more = sent("Re: Your tent", reference="T-7")
    await store.publish(*events, read(first), *more, event("sender", last, 0, refused("550 5.1.1 No such user")))
    await sign_in(page, store, at=f"messages/{last}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("T-7")
    cards = page.get_by_role("article")
    await expect(cards).to_have_count(2)
    await expect(cards.locator("tracepost-status button")).to_have_text(["Read", "Delivery issue: hard bounce"])
    box, badge = (
        await cards.last.locator(".sent").bounding_box(),
        await cards.last.locator("button").first.bounding_box(),
    )
    assert box
    assert badge
    assert box["x"] + box["width"] - badge["x"] - badge["width"] < 20
    assert box["y"] + box["height"] - badge["y"] - badge["height"] < 20
    await expect(page.locator(".why")).to_contain_text("Why: Returned: the address is dead")
    await expect(page.locator(".timeline li")).to_have_count(3)
    await expect(page.locator(".timeline .decides")).to_contain_text("550 5.1.1 No such user")
    await expect(page.locator(".timeline")).to_contain_text("a later bounce outranks it")


async def test_a_search_combines_words_and_keeps_an_address_out_of_the_url(store: Running, page: Page) -> None:
    tag = secrets.token_hex(4)
    told: dict[str, Any] = {"tags": [tag], "recipient": f"{tag}@example.org"}
    _, events = sent("Wanted", **told)
    returned, more = sent("Returned", **told)
    other, others = sent("Of another tag", recipient=f"{tag}@example.org")
    await store.publish(*events, *more, *others, event("sender", returned, 0, refused("550 5.1.1 No such user")))
    await sign_in(page, store)
    search = page.get_by_role("searchbox")
    await search.fill(f"{tag}@example.org")
    await search.press("Enter")
    await expect(rows(page)).to_have_count(3)
    assert tag not in page.url
    await page.reload()
    await expect(search).to_have_value(f"{tag}@example.org")
    await expect(rows(page)).to_have_count(3)
    await search.fill(f"{tag}@example.org tag:{tag}")
    await search.press("Enter")
    await expect(rows(page)).to_have_count(2)
    await page.get_by_label("Status").select_option("Hard bounce")
    await expect(rows(page)).to_have_count(1)
    await expect(rows(page)).to_contain_text("Returned")
    await page.get_by_label("Period").select_option("Last 24 hours")
    await expect(rows(page)).to_have_count(1)
    await search.fill(str(other))
    await search.press("Enter")
    await expect(page.get_by_role("article")).to_contain_text("Of another tag")


async def test_issues_not_yet_seen_come_first_until_somebody_looks(store: Running, page: Page) -> None:
    id_, events = sent("It came back")
    await store.publish(*events, event("sender", id_, 0, refused("550 5.1.1 No such user")))
    await store.publish(*sent("All is well")[1])
    await sign_in(page, store)
    issues = page.get_by_role("region", name="Delivery issues not yet seen")
    await expect(issues.get_by_role("link").first).to_contain_text("It came back")
    await issues.get_by_role("link").first.click()
    await expect(page.get_by_role("article")).to_contain_text("It came back")
    await page.get_by_role("link", name="Tracepost").click()
    await expect(issues.get_by_text("It came back")).to_have_count(0)
    await store.publish(*_returned("One more")[1])
    await expect(issues.get_by_role("link").first).to_contain_text("One more")
    await issues.get_by_role("button", name="Mark all as seen").click()
    await expect(issues).to_be_hidden()


def _returned(subject: str) -> tuple[UUID, list[AnyEvent]]:
    id_, events = sent(subject)
    return id_, [*events, event("sender", id_, 0, refused("550 5.1.1 No such user"))]


async def test_statistics_count_what_came(store: Running, page: Page) -> None:
    id_, events = sent("Your tent")
    await store.publish(*events)
    await store.publish(read(id_))  # an open that comes before its message is known is no app's
    await sign_in(page, store, at="statistics")
    charts = page.get_by_role("figure")
    await expect(charts).to_have_count(4)
    await expect(page.locator(".tiles")).to_contain_text("Median time to delivery")
    opens = charts.filter(has_text="Opens by verdict")

    async def agree() -> bool:
        await page.reload()
        await opens.get_by_text("As a table").click()
        shown = await opens.get_by_role("row", name="A person").inner_text()
        return shown.split("\t") == ["A person", str((await store.ask("GET", "/stats", by="day"))["opens"]["person"])]

    await eventually(agree)
    await page.get_by_role("button", name="24 hours").click()
    await expect(page.get_by_text("By the time of sending, by hour.")).to_be_visible()
    await expect(charts.first.locator("rect").first).to_be_attached()


async def test_dead_letters_are_replayed_and_forgotten(store: Running, page: Page) -> None:
    letter = await bury(store, "no event")
    await sign_in(page, store, at="dead-letters")
    await page.locator(f'.pile a[href$="{letter}"]').click()
    await expect(page.locator(".letter")).to_contain_text("no event")
    await page.get_by_role("button", name="Replay").click()
    await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    await expect(page.locator(".pile a[aria-current]")).to_contain_text("replayed")
    await page.get_by_role("button", name="Forget").click()
    await page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    await expect(page.get_by_text("Forgotten.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_open_to_all(store: Running, browser: Browser, scheme: Any) -> None:
    id_, events = sent("Your tent", reference="T-1")
    other, more = sent("سؤالك", reference="T-2", recipients=3)
    await store.publish(*events, read(id_), *more, event("sender", other, 0, refused("550 5.1.1 No such user")))
    await bury(store, "no event")
    size: Any = {"width": 1280, "height": 800}
    async with chromium.page(browser, "401 (Unauthorized)", color_scheme=scheme, viewport=size) as page:
        await sign_in(page, store)
        for at in (*PAGES, f"messages/{other}"):
            await page.goto(f"{address(store)}#/{at}")
            await expect(page.locator(".notice[role=status]")).to_have_count(0)
            await chromium.assert_open_to_all(page)
            for width, direction in ((1280, "rtl"), (360, "rtl"), (360, "ltr")) if scheme == "light" else ():
                await page.set_viewport_size({"width": width, "height": 740})
                await page.evaluate("direction => { document.documentElement.dir = direction }", direction)
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (at, width, direction)
            await page.set_viewport_size(size)


LONG = """async () => {
  const { Windowed } = await import('/assets/console/windowed.js');
  const { row } = await import('/assets/console/row.js');
  const scroller = document.body.appendChild(document.createElement('div'));
  scroller.style.cssText = 'position: fixed; inset: 0; overflow-y: auto';
  const draw = (item) => row('div', item, { role: 'option' });
  const list = new Windowed(scroller, { height: 58, label: 'long', draw, more() {} });
  scroller.append(list.element);
  const id = (n) => `01a20f7e-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;
  const item = (_, n) => ({ message_id: id(n), subject: `Message ${n}`, status: 'read', shown_as: 'Read' });
  list.items = Array.from({ length: 100_000 }, item);
  const frames = [];
  let most = 0;
  for (let step = 0; step < 40; step += 1) {
    scroller.scrollTop = (list.element.offsetHeight * step) / 40;
    const before = performance.now();
    await new Promise(requestAnimationFrame);
    list.render();
    scroller.getBoundingClientRect();
    frames.push(performance.now() - before);
    most = Math.max(most, list.element.childElementCount);
  }
  scroller.scrollTop = list.element.offsetHeight;
  await new Promise(requestAnimationFrame);
  list.render();
  frames.sort((a, b) => a - b);
  return { most, last: list.element.lastElementChild.textContent, median: frames[20], worst: frames[39] };
}"""


async def test_of_a_hundred_thousand_rows_only_those_in_view_are_drawn(store: Running, page: Page) -> None:
    await sign_in(page, store)
    found = await page.evaluate(LONG)
    assert found["most"] < 60
    assert found["last"].startswith("Message 99999")
