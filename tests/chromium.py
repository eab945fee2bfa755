"""Chromium as the tests use it: without a window, and with axe to look for what shuts people out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from local_stack import binaries
from tests.conftest import ROOT

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
AXE = "axe-core@4.14.1"
NPM = ROOT / ".local" / "npm"


@asynccontextmanager
async def running() -> AsyncIterator[Browser]:
    """Debian's Chromium with a new profile; each context of it is a person of its own."""
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=_program(), args=FLAGS, chromium_sandbox=False) as browser,
    ):
        yield browser


@cache
def _program() -> Path:
    try:
        return binaries.provide("chromium", "chromium", print)
    except binaries.Missing as error:
        pytest.skip(str(error))


@asynccontextmanager
async def page(browser: Browser, *but: str, **told: Any) -> AsyncIterator[Page]:
    """A page of a new context; AssertionError for each fault that its console tells, but those with these words."""
    faults: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in but):
            faults.append(f"{message.text} ({message.location.get('url')})")

    async with await browser.new_context(locale="en-GB", **told) as context:
        opened = await context.new_page()
        opened.on("console", hear)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        yield opened
        assert not faults, faults


async def assert_open_to_all(page: Page) -> None:
    """axe-core finds nothing that is serious or critical."""
    await page.evaluate(_axe())
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    grave = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    told = [{"rule": each["id"], "nodes": [node["failureSummary"] for node in each["nodes"]]} for each in grave]
    assert not told, json.dumps(told, indent=1)


@cache
def _axe() -> str:
    script = NPM / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is missing, which fetches axe-core; install it: sudo apt-get install npm")
        told = ["npm", "install", "--prefix", str(NPM), "--ignore-scripts", "--no-audit", "--no-fund", "--silent", AXE]
        subprocess.run(told, check=True)
    return script.read_text("utf-8")
