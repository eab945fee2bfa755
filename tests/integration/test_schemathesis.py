"""Requests that nobody would think of, made from the description by schemathesis: no answer may belie it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import positive_data_acceptance
from schemathesis.core.result import Ok
from uuid_utils.compat import uuid7

from status_store.openapi import document
from tests.integration.test_recipients import history
from tests.running import ALL, Running, running

# What a schema cannot say: a time to come, a cursor that was never given, a time of no length.
BEYOND_A_SCHEMA = ("/v1/messages/{id}/deliveries/{number}/replied", "/v1/changes", "/v1/stats")

# A stream has no end.
DESCRIBED = schemathesis.openapi.from_dict(document()).exclude(path_regex="/live$")
OPERATIONS = [each.ok() for each in DESCRIBED.get_all_operations() if isinstance(each, Ok)]


@pytest.fixture
async def service(broker: str, database: str) -> AsyncIterator[Running]:
    async with running(broker, database) as service:
        yield service


@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_no_answer_belies_the_description(service: Running, examples: int) -> None:
    assert len(OPERATIONS) > 20
    message_id = uuid7()
    await service.publish(*history(message_id))
    for operation in OPERATIONS:
        for mode in modes(operation):
            await asyncio.to_thread(try_out, operation, mode, service.url[: -len("/v1")], str(message_id), examples)


def modes(operation: Any) -> list[GenerationMode]:
    """Of what takes nothing, nothing is wrong."""
    takes = operation.body or operation.query or operation.path_parameters or operation.headers
    return [*GenerationMode] if takes else [GenerationMode.POSITIVE]


def try_out(operation: Any, mode: GenerationMode, url: str, known: str, examples: int) -> None:
    """Ask for the known message as well as for others."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), of_known=st.booleans())
    def ask(case: Case[Any], of_known: bool) -> None:
        if of_known and "id" in case.path_parameters and mode is GenerationMode.POSITIVE:
            case.path_parameters["id"] = known
        if case.query:
            case.query.pop("wait", None)
        case.call_and_validate(
            base_url=url,
            headers={"Authorization": f"Bearer {ALL}"},
            excluded_checks=[positive_data_acceptance] if operation.path in BEYOND_A_SCHEMA else [],
            timeout=10,
        )

    ask()
