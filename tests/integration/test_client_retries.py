"""The client where a service is away for a while: what is asked again, with which id, and what is not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from uuid_utils.compat import uuid7

from tracepost.client import AsyncClient, Refused
from tracepost.http import problems, serving
from tracepost.problems import Invalid, Problem

MESSAGE = {"from": "support@tracepost.test", "to": ["ann@example.org"], "text": "Hello"}
Asked = list[dict[str, Any]]


@asynccontextmanager
async def answering(*statuses: int, page: dict[str, Any] | None = None) -> AsyncIterator[tuple[AsyncClient, Asked]]:
    """A service that answers with these in turn, the last one again and again; and what it was asked."""
    asked: Asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json() if request.can_read_body else dict(request.query))
        status = statuses[min(len(asked), len(statuses)) - 1]
        if status >= 400:
            raise Invalid(Problem(code="of-the-test", title="Not now", status=status))
        return web.json_response(page or {"message_id": asked[-1]["message_id"], "rfc_message_id": "<x@y>"})

    app = web.Application(middlewares=[problems])
    app.router.add_post("/v1/messages", answer)
    app.router.add_get("/v1/changes", answer)
    async with serving(app, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}"
        async with AsyncClient(amqp_url="", api_url=url, sender_url=url, api_key="tp_shop_x", timeout=5) as client:
            yield client, asked


async def test_a_request_is_sent_again_with_its_id_until_it_is_taken() -> None:
    async with answering(503, 429, 202) as (client, asked):
        accepted = await client.send(MESSAGE)
    assert [each["message_id"] for each in asked] == [str(accepted.message_id)] * 3
    assert all(each == asked[0] for each in asked)


@pytest.mark.parametrize("status", [401, 403, 409, 413, 422, 500])
async def test_what_will_never_be_taken_is_asked_once(status: int) -> None:
    async with answering(status) as (client, asked):
        with pytest.raises(Refused, match="Not now"):
            await client.send(MESSAGE)
    assert len(asked) == 1


async def test_changes_wait_while_the_service_is_away_and_go_on_at_their_cursor() -> None:
    change = {"cursor": "8", "message_id": str(uuid7()), "version": 1, "status": "read", "rollup": {}}
    async with (
        answering(200, 503, 200, page={"changes": [change], "cursor": "9"}) as (client, asked),
        aclosing(client.changes("7")) as changes,
    ):
        found = [await anext(changes) for _ in range(2)]
    assert [each.status for each in found] == ["read", "read"]
    assert [each["cursor"] for each in asked] == ["7", "9", "9"]


async def test_a_cursor_that_is_too_old_is_told() -> None:
    async with answering(410) as (client, _):
        with pytest.raises(Refused) as refused:
            await anext(client.changes("1"))
    assert refused.value.problem.status == 410


async def test_an_answer_that_is_no_problem_document_is_told_as_it_came() -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=418, text="<h1>proxy</h1>")

    app = web.Application()
    app.router.add_get("/v1/changes", broken)
    async with serving(app, "127.0.0.1", 0) as port, AsyncClient(api_url=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Refused, match="<h1>proxy</h1>") as refused:
            await client.now()
    assert refused.value.problem.status == 418
    assert json.loads(refused.value.problem.document())["code"] == "http-418"
