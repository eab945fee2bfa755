"""One stack for all tests of faults, and a summary of what they counted at the end of the run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.conftest import room
from tests.faults import settle, site
from tests.faults.site import Site

_TOLD = "told"


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="site")
async def _site() -> AsyncIterator[Site]:
    async with site.site(room("test-faults")) as running:
        await settle.subscribe(running)
        yield running


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Add to the summary."""
    return lambda text: request.node.user_properties.append((_TOLD, f"{request.node.name}: {text}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted, whether the tests passed or not."""
    reports = [each for reports in terminalreporter.stats.values() for each in reports]
    calls = [each for each in reports if isinstance(each, pytest.TestReport) and each.when == "call"]
    if told := [text for call in calls for name, text in call.user_properties if name == _TOLD]:
        terminalreporter.section("faults")
        for each in told:
            terminalreporter.write_line(str(each))
