"""A real Prometheus with what is shipped for it scrapes the running stack: every service, every rule, every panel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from local_stack import binaries
from local_stack.processes import free_port, running, wait_for_port
from local_stack.stack import HOST, SERVICES, Stack
from tests.conftest import eventually
from tests.deploy import prometheus
from tests.deploy.test_dashboards import DASHBOARDS, expressions
from tests.e2e.asking import sent

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Of a stack to which nothing bad has happened yet, these alone have nothing to show.
EMPTY = (
    *("lost", "cut", "limited", "broken", "complaint", '!="confirmed"', "dead_lettered", "retries", "unfinished"),
    *("dkim", "ratio1h", "quarantine", "refused", "webhook", "smtp_sessions_total", "dns_answers", "sts_policies"),
)


def _configured(stack: Stack, folder: Path) -> Path:
    """The shipped files, with the stack's own admin ports, asked every second."""
    text = (prometheus.FOLDER / "prometheus.yml").read_text().replace("interval: 15s", "interval: 1s")
    (folder / "prometheus.yml").write_text(text)
    (folder / "alerts.yml").write_text((prometheus.FOLDER / "alerts.yml").read_text())
    targets = [
        {"targets": [stack.admin_url(service).removeprefix("http://")], "labels": {"service": service}}
        for service in SERVICES
    ]
    (folder / "targets.yml").write_text(yaml.safe_dump(targets))
    return folder / "prometheus.yml"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where it answers."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    try:
        program = prometheus.program("prometheus")
    except binaries.Missing as error:
        pytest.skip(str(error))
    argv: list[str | Path] = [
        program,
        f"--config.file={_configured(stack, folder)}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={HOST}:{port}",
    ]
    async with running("prometheus", argv, env={}, log=folder / "log", cwd=folder) as process:
        await wait_for_port(HOST, port, process, timeout=30)
        yield f"http://{HOST}:{port}/api/v1"


async def asked(api: str, path: str, **query: str) -> Any:
    async with aiohttp.request("GET", f"{api}/{path}", params=query) as answer:
        assert answer.status == 200, await answer.text()  # 503 while it starts
        told = await answer.json()
        return told["data"]


async def found(api: str, expression: str) -> list[Any]:
    told = await asked(api, "query", query=expression)
    return list(told["result"]) if told["resultType"] == "vector" else [told["result"]]


async def test_it_scrapes_every_service_and_evaluates_every_rule(stack: Stack, api: str) -> None:
    async def all_up() -> bool:
        return {each["metric"]["service"] for each in await found(api, "up == 1")} == SERVICES.keys()

    async def all_evaluated() -> bool:
        groups = (await asked(api, "rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules
        return bool(rules) and all(rule["health"] == "ok" for rule in rules)

    await eventually(all_up)
    await eventually(all_evaluated)
    firing = [each for each in (await asked(api, "alerts"))["alerts"] if each["state"] == "firing"]
    assert [each["labels"] for each in firing if each["labels"]["severity"] == "page"] == []


async def test_panels_show_what_happens(stack: Stack, api: str) -> None:
    await sent(stack, "read", "read")
    await sent(stack, "returned", "hard_bounce")
    shown = [each for name in DASHBOARDS for each in expressions(name)]

    async def all_shown() -> bool:
        empty = [each for each in shown if not await found(api, each)]
        unexpected = [each for each in empty if not any(word in each for word in EMPTY)]
        assert unexpected == [], "\n".join(unexpected)
        return True

    await eventually(all_shown)


async def test_an_outcome_is_counted_where_it_is_known(stack: Stack, api: str) -> None:
    """What the relay took and what came back later, both by the recipient's domain."""
    await sent(stack, "delivered", "delivered")

    async def both() -> bool:
        told = await found(api, "sum by (domain, outcome) (tracepost_outcomes_total)")
        return {("other", "delivered"), ("other", "hard")} <= {
            (each["metric"]["domain"], each["metric"]["outcome"]) for each in told
        }

    await eventually(both)
