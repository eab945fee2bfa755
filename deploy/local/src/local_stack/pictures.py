"""Pictures of the console for the README, taken from a running stack in Chromium."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from playwright.async_api import Browser, Page, async_playwright

from local_stack import binaries, tickets
from local_stack.stack import Say, Stack

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")
DEADLINE = 60.0
ORDINARY = 260  # messages beside the tickets
FONT = "fonts-inter"  # stands for the reader's own system font, which a server has none of
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include><dir>{folder}</dir>
<match target="pattern"><test name="family"><string>system-ui</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
<match target="pattern"><test name="family"><string>sans-serif</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
</fontconfig>
"""


@dataclass(frozen=True)
class Picture:
    """What is seen: the page, or the message of a reference; with its badge's panel open, if so."""

    name: str
    page: str = ""
    reference: str = ""
    panel: bool = False
    width: int = 1280
    height: int = 800
    scheme: Literal["light", "dark"] = "light"


PICTURES = (
    Picture("ticket", reference="FW-20418", panel=True),
    Picture("issue", reference="FW-20431", panel=True, scheme="dark"),
    Picture("statistics", page="statistics", height=730),
    Picture("phone", reference="FW-20433", panel=True, width=390, height=560),
)


async def take(stack: Stack, folder: Path, say: Say) -> None:
    """Send the tickets, wait until all is settled, and write the pictures into the folder."""
    program = binaries.provide("chromium", "chromium", say)
    sent = [*tickets.ordinary(ORDINARY), *reversed(tickets.TICKETS)]
    await tickets.publish(stack.servers.broker.amqp_url, sent)
    newest = await _settled(stack, len(sent))
    folder.mkdir(parents=True, exist_ok=True)
    environment: dict[str, Any] = {**os.environ, "FONTCONFIG_FILE": str(_fonts(Path(".local/fonts").resolve()))}
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            executable_path=program, args=FLAGS, chromium_sandbox=False, env=environment
        ) as browser,
    ):
        for picture in PICTURES:
            await _picture(browser, stack, picture, newest, folder / f"{picture.name}.png")
            say(f"Took {folder / picture.name}.png")


def _fonts(folder: Path) -> Path:
    if not folder.exists():
        binaries.unpack(FONT, folder)
    configuration = folder.with_suffix(".conf")
    configuration.write_text(FONTS.format(folder=folder))
    return configuration


async def _settled(stack: Stack, count: int) -> Mapping[str, str]:
    """The newest message of each reference, once no status is on its way."""
    end = time.monotonic() + DEADLINE
    async with aiohttp.ClientSession() as session:
        while True:
            messages = await _messages(session, stack, count)
            before, after = messages, await _later(session, stack, count)
            if len(after) >= count and before == after:
                return {each["reference"]: each["message_id"] for each in reversed(after)}
            if time.monotonic() > end:
                raise TimeoutError(f"of {count} messages {len(after)} are known, or they still change")


async def _later(session: aiohttp.ClientSession, stack: Stack, count: int) -> list[dict[str, Any]]:
    await asyncio.sleep(3)
    return await _messages(session, stack, count)


async def _messages(session: aiohttp.ClientSession, stack: Stack, count: int) -> list[dict[str, Any]]:
    async with session.get(f"{stack.query_url}/messages", params={"limit": min(count, 500)}) as response:
        return list((await response.json())["messages"])


async def _picture(browser: Browser, stack: Stack, picture: Picture, newest: Mapping[str, str], file: Path) -> None:
    size: Any = {"width": picture.width, "height": picture.height}
    async with await browser.new_context(viewport=size, color_scheme=picture.scheme, locale="en-GB") as context:
        page = await context.new_page()
        at = f"messages/{newest[picture.reference]}" if picture.reference else picture.page
        await page.goto(f"{stack.console_url}#/{at}")
        await _drawn(page, picture)
        await page.screenshot(path=file)


async def _drawn(page: Page, picture: Picture) -> None:
    await page.locator(".live .on").wait_for()
    if picture.reference:
        await page.locator(".story").first.wait_for()
        await page.locator(".issues [aria-current]").wait_for(state="hidden")  # it is seen now
    else:
        await page.locator("figure").first.wait_for()
    if picture.panel:
        badge = page.locator(".card.open tracepost-status")
        await badge.get_by_role("button").click()
        await badge.get_by_role("group").wait_for()
