"""One stack for all tests of faults, and a summary of what they counted at the end of the run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.conftest import ROOT
from tests.faults import settle, site
from tests.faults.site import Site

_told = pytest.StashKey[list[str]]()


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="site")
async def _site() -> AsyncIterator[Site]:
    async with site.site(ROOT / ".local" / "test-faults") as running:
        await settle.subscribe(running)
        yield running


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Add to the summary."""
    return lambda text: request.config.stash.setdefault(_told, []).append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted, whether the tests passed or not."""
    if told := terminalreporter.config.stash.get(_told, []):
        terminalreporter.section("faults")
        for each in told:
            terminalreporter.write_line(each)
