"""One running stack with least rights, and one Chromium with a page for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from local_stack.stack import Stack, running_stack, servers
from tests import chromium
from tests.conftest import room
from tests.e2e.desk import DESK
from tests.rights import least

APP = "helpdesk"  # which publishes requests and follows the status
FOLDER = room("test-stack")


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The passwords of the stack's users and roles."""
    return tmp_path_factory.mktemp("installation") / "secrets"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(secrets: Path) -> AsyncIterator[Stack]:
    """As it is shipped: every service as a user and a role of its own, that may do no more than it needs.

    With a help desk whose pages may use status-store's API.
    """
    async with servers(FOLDER, print) as where:
        settings = await least(where, secrets, apps=(APP,))
        settings["TRACEPOST_STATUS_STORE_CORS_ORIGINS"] = DESK
        async with running_stack(FOLDER, print, on=where, settings=settings) as running:
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
