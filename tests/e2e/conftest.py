"""One running stack, and one Chromium with a page for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Page

from local_stack.stack import Stack, running_stack
from tests import chromium
from tests.conftest import room
from tests.e2e.desk import DESK


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[Stack]:
    """With a help desk whose pages may use status-store's API."""
    settings = {"TRACEPOST_STATUS_STORE_CORS_ORIGINS": DESK}
    async with running_stack(room("test-e2e"), print, settings=settings) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Running, without a window."""
    async with chromium.running() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page whose console must stay without a fault."""
    async with chromium.page(browser) as page:
        yield page
