"""One site for each server; `make peers` runs each in a process, and on a machine, of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.mail_servers.running import SERVERS
from tests.peers.site import Site, site


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=SERVERS, name="site")
async def running_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """The server and the stack, ready."""
    async with site(request.param) as running:
        yield running
