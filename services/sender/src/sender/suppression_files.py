"""The suppression list as CSV: import, with a dry run, and export."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from sender.suppression import Evidence
from sender.suppression_csv import COLUMNS, Candidate, Plan, Wrong, plan, read, row
from sender.suppression_store import Learnt, Listed, Suppressions
from tracepost.http import client_of
from tracepost.keys import Keys, app_of
from tracepost.problems import Fault, Invalid, Problem, of_faults
from tracepost.tokens import Keyring

ROWS_AT_ONCE = 1_000


class Importing(BaseModel):
    """The query of an import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False
    skip_bad: bool = False


def routes(suppressions: Suppressions, keyring: Keyring, keys: Keys) -> list[web.RouteDef]:
    """`/v1/suppressions/import` and `…/export`: an export can be imported."""

    async def imported(request: web.Request) -> web.Response:
        client = client_of(request, keys, "operate")
        asked = Importing.model_validate(dict(request.query))
        text, now = await _text(request), datetime.now(UTC)
        # In a thread: many lines take seconds, and mail goes on meanwhile.
        good, wrong = await asyncio.to_thread(read, text, client, now)
        names = {each.address: keyring.address_key(each.address) for each in good}
        made = await asyncio.to_thread(plan, good, await _known(names), now)
        if asked.dry_run:
            return _json(_told(made, wrong))
        if wrong and not asked.skip_bad:
            raise Invalid(_problem(wrong))
        taken = (*made.added, *made.changed)
        await suppressions.learn([Learnt(names[each.address], each.address, each.evidence) for each in taken])
        return _json(_told(made, wrong))

    async def _known(names: Mapping[str, str]) -> dict[str, list[Evidence]]:
        found = await suppressions.evidence(list(names.values()))
        return {address: found[key] for address, key in names.items() if key in found}

    async def exported(request: web.Request) -> web.StreamResponse:
        client = client_of(request, keys, "read")
        app = app_of(client, request.query.get("app"))
        page = await suppressions.page(app, None, None, ROWS_AT_ONCE)
        response = web.StreamResponse(headers={"Content-Disposition": 'attachment; filename="suppressions.csv"'})
        response.content_type, response.charset = "text/csv", "utf-8"
        await response.prepare(request)
        await response.write(row(COLUMNS).encode())
        while page:
            await response.write("".join(map(_row, page)).encode())
            page = await suppressions.page(app, None, page[-1].seq, ROWS_AT_ONCE)
        await response.write_eof()
        return response

    return [web.post("/v1/suppressions/import", imported), web.get("/v1/suppressions/export", exported)]


async def _text(request: web.Request) -> str:
    if request.content_type != "text/csv":
        detail = f"the content type is {request.content_type}; send text/csv in UTF-8"
        raise Invalid(Problem(code="not-csv", title="Not CSV", status=415, detail=detail))
    try:
        return (await request.read()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is no UTF-8; save the file as CSV in UTF-8"
        raise Invalid(Problem(code="not-utf-8", title="Not UTF-8", status=415, detail=detail)) from None


def _problem(wrong: Sequence[Wrong]) -> Problem:
    faults = [
        Fault(pointer="/".join(filter(None, ("/lines", str(each.line), each.field))), detail=each.detail)
        for each in wrong
    ]
    return of_faults(faults, "import-faults", "Nothing was imported: mend these lines, or say skip_bad=true")


def _told(made: Plan, wrong: Sequence[Wrong]) -> dict[str, Any]:
    return {
        "added": [_line(each) for each in made.added],
        "changed": [_line(each) for each in made.changed],
        "ignored": [_line(each) | {"because": because} for each, because in made.ignored],
        "wrong": [each._asdict() for each in wrong],
    }


def _line(candidate: Candidate) -> dict[str, Any]:
    return {"line": candidate.line, "address": candidate.address, "reason": candidate.evidence.reason}


def _row(listed: Listed) -> str:
    """Nothing of an erased address: there is none to write down."""
    if listed.address is None:
        return ""
    return row((listed.address, listed.app, listed.reason, listed.since, listed.until, listed.why))


def _json(told: object) -> web.Response:
    return web.Response(body=to_json(told), content_type="application/json")
