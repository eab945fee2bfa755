"""From the door to a mail server: what is read there is what was asked for, or the request was refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from yarl import URL

from tests import smtp_servers
from tests.conftest import eventually
from tests.integration.test_door import OPERATOR, post, serving
from tests.integration.test_signed_mail import UTF8
from tests.signatures import BOTH, by_dkimpy, key_files
from tests.unit.fuzzed import check, explained, image, requests
from tests.unit.samples import body
from tracepost.problems import Problem
from tracepost.requests import decode


class Way(NamedTuple):
    """Where requests go in, and where mails come out."""

    door: URL
    server: smtp_servers.Server


@pytest_asyncio.fixture
async def way(broker: str, database: str, token_keys: str, tmp_path: Path) -> AsyncIterator[Way]:
    """The sender, with a mail server that offers SMTPUTF8."""
    async with smtp_servers.serving(UTF8) as server:
        keys = key_files(tmp_path, BOTH)
        async with serving(broker, database, token_keys, relay_port=server.port, dkim_keys=keys) as door:
            yield Way(door, server)


# One sender serves all examples.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=requests())
async def test_what_is_asked_for_is_what_arrives_or_the_reason_is_told(way: Way, fields: dict[str, Any]) -> None:
    asked = body(**fields)
    before = len(way.server.messages)
    status, told, _ = await post(way.door, json.loads(asked), OPERATOR)
    if status != 202:
        assert explained(Problem.model_validate(told), fields)
        return

    async def arrived() -> bool:
        return len(way.server.messages) > before

    await eventually(arrived)
    mail = way.server.messages[-1].replace(b"\r\n..", b"\r\n.").removeprefix(b".")
    assert by_dkimpy(mail, BOTH) == [True, True]
    check(decode(asked), mail, image(mail))
