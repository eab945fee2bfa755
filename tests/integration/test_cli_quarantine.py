"""The command line's quarantine, against an API that keeps its reports in memory and answers as bounce-ingest does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result
from uuid_utils.compat import uuid4, uuid7

from tracepost.cli.app import app
from tracepost.http import problems, serving
from tracepost.problems import Invalid, Problem

MESSAGE = str(uuid7())


def report(number: int, about: str | None = None) -> dict[str, Any]:
    told = {"id": str(uuid4()), "reason": "unplaced", "detail": "", "received_at": "2026-03-04T12:00:00Z"}
    return told | {"subject": f"Returned {number}\x1b[2J", "way": "smtp", "about": about}


@dataclass
class Api:
    """Reports by their ids; those that can be told after a rule was added; what was classified."""

    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    understood: set[str] = field(default_factory=set)
    classified: list[Any] = field(default_factory=list)
    url: str = ""

    def page(self, limit: int, cursor: int | None) -> tuple[list[dict[str, Any]], str | None]:
        found = list(self.reports.values())[cursor or 0 :][:limit]
        more = len(found) == limit and len(found) + (cursor or 0) < len(self.reports)
        return found, str((cursor or 0) + limit) if more else None

    def found(self, request: web.Request) -> dict[str, Any]:
        try:
            return self.reports[request.match_info["id"]]
        except KeyError:
            raise Invalid(Problem(code="unknown-report", title="There is no such report", status=404)) from None

    async def listed(self, request: web.Request) -> web.Response:
        found, cursor = self.page(int(request.query["limit"]), int(request.query.get("cursor", 0)))
        return web.json_response({"reports": found, "cursor": cursor})

    async def shown(self, request: web.Request) -> web.Response:
        return web.json_response(self.found(request) | {"raw": "Subject: Returned"})

    async def raw(self, request: web.Request) -> web.Response:
        self.found(request)
        return web.Response(body=b"Subject: Returned\r\n\r\n\xff", content_type="message/rfc822")

    async def released(self, request: web.Request) -> web.Response:
        id_ = self.found(request)["id"]
        if id_ not in self.understood:
            return web.json_response({"result": "held", "reason": "unplaced", "detail": "no_token"})
        del self.reports[id_]
        return web.json_response({"result": "told", "events": [{"event": "bounced", "subject": f"{MESSAGE}/0"}]})

    async def put_right(self, request: web.Request) -> web.Response:
        id_ = self.found(request)["id"]
        said = await request.json()
        self.classified.append(said)
        del self.reports[id_]
        subject = f"{said['message_id']}/{said['recipient_no']}"
        return web.json_response({"result": "told", "events": [{"event": said["event"], "subject": subject}]})

    async def run_again(self, request: web.Request) -> web.Response:
        cursor = int((await request.json()).get("cursor", 0))
        found, more = self.page(2, cursor)
        told = sum(each["id"] in self.understood for each in found)
        return web.json_response({"looked_at": len(found), "told": told, "cursor": more})

    async def dropped(self, request: web.Request) -> web.Response:
        del self.reports[self.found(request)["id"]]
        return web.Response(status=204)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    kept = Api()
    for number in range(5):
        each = report(number, f"{MESSAGE}/3" if number == 0 else None)
        kept.reports[each["id"]] = each
    served = web.Application(middlewares=[problems])
    served.router.add_get("/v1/quarantine", kept.listed)
    served.router.add_get("/v1/quarantine/{id}", kept.shown)
    served.router.add_get("/v1/quarantine/{id}/raw", kept.raw)
    served.router.add_post("/v1/quarantine/run-again", kept.run_again)
    served.router.add_post("/v1/quarantine/{id}/release", kept.released)
    served.router.add_post("/v1/quarantine/{id}/classify", kept.put_right)
    served.router.add_delete("/v1/quarantine/{id}", kept.dropped)
    async with serving(served, "127.0.0.1", 0) as port:
        kept.url = f"http://127.0.0.1:{port}"
        yield kept


async def run(api: Api, *argv: str) -> Result:
    env = {"TRACEPOST_BOUNCE_INGEST_URL": api.url, "COLUMNS": "200"}
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["quarantine", *argv], env=env))


async def told(api: Api, *argv: str, code: int = 0) -> Any:
    result = await run(api, *argv, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


async def test_reports_are_listed_and_shown_and_come_out_byte_for_byte(api: Api) -> None:
    first, *_ = api.reports
    listed = await told(api, "list", "--limit", "2")
    assert len(listed["reports"]) == 2
    assert listed["cursor"] == "2"
    shown = (await run(api, "list")).output
    assert first in shown
    assert "\x1b" not in shown
    assert "Subject: Returned" in (await run(api, "show", first)).output
    assert (await run(api, "show", first, "--raw")).stdout_bytes == b"Subject: Returned\r\n\r\n\xff"
    missing = await run(api, "show", str(uuid4()))
    assert (missing.exit_code, "There is no such report" in missing.stderr) == (1, True)


async def test_a_person_says_what_a_report_is_about(api: Api) -> None:
    first, second, *_ = api.reports
    unknown = await run(api, "classify", second, "--as", "hard")
    assert (unknown.exit_code, "--message-id" in unknown.output) == (2, True)
    assert (await told(api, "classify", first, "--as", "complaint"))["events"][0]["subject"] == f"{MESSAGE}/3"
    printed = await run(api, "classify", second, "--as", "soft", "--message-id", MESSAGE, "--recipient", "1")
    assert printed.output == f"bounced for {MESSAGE}/1\n"
    assert api.classified == [
        {"event": "complained", "message_id": MESSAGE, "recipient_no": 3},
        {"event": "bounced", "bounce_class": "soft", "message_id": MESSAGE, "recipient_no": 1},
    ]


async def test_reports_are_read_again_one_by_one_or_all(api: Api) -> None:
    first, second, *_ = api.reports
    held = await run(api, "release", first)
    assert (held.exit_code, held.output) == (1, "still held: unplaced no_token\n")
    api.understood = {first, second}
    assert await told(api, "rerun") == {"looked_at": 5, "told": 2}
    assert (await told(api, "release", first))["result"] == "told"


async def test_reports_are_dropped_by_name_or_all(api: Api) -> None:
    first, *_ = api.reports
    assert (await run(api, "drop")).exit_code == 2
    assert await told(api, "drop", first, "--yes") == {"done": 1}
    assert first not in api.reports
    assert await told(api, "drop", "--all", "--yes") == {"done": 4}
    assert not api.reports
    assert (await run(api, "list")).output == "nothing is in quarantine\n"
