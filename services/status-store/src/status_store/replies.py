"""The API by which a help desk reports that a recipient has answered, which proves that the message was read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from aiohttp import web

from status_store.asked import Answered, recipient_no
from status_store.queries import Queries
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import Replied, derived_id, event
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import Keys
from tracepost.problems import Fault, Invalid, Problem

CLOCKS_DIFFER = timedelta(minutes=5)


def routes(queries: Queries, publisher: Publisher, keys: Keys) -> list[web.RouteDef]:
    """`POST /v1/messages/{id}/deliveries/{number}/replied`."""

    async def replied(request: web.Request) -> web.Response:
        client = client_of(request, keys, "send")
        message_id, number = uuid_of(request), recipient_no(request.match_info["number"])
        asked = Answered.model_validate_json(await request.read() or "{}")
        now = datetime.now(UTC)
        if asked.at and asked.at > now + CLOCKS_DIFFER:
            raise _faulty("/at", "is yet to come; give the time of the answer, or leave it out for now")
        found = await queries.message(message_id, client)
        if number not in found.deliveries and number >= json.loads(found.row)["recipient_count"]:
            detail = "the message has no recipient of this number; numbers begin with 0"
            raise Invalid(Problem(code="unknown-recipient", title="No such recipient", status=404, detail=detail))
        id_ = derived_id("replied", message_id, number, asked.reply_id or "")
        told = event("status-store", message_id, number, Replied(), id=id_, time=asked.at or now)
        try:
            await publisher.publish(told)
        except (NotConfirmed, Unroutable) as error:
            detail = f"{error}; report it again"
            raise Invalid(Problem(code="unavailable", title="Not recorded", status=503, detail=detail)) from None
        return answer({"event_id": told.id, "time": told.time}, status=202)

    return [web.post("/v1/messages/{id}/deliveries/{number}/replied", replied)]


def _faulty(pointer: str, detail: str) -> Invalid:
    faults = (Fault(pointer=pointer, detail=detail),)
    return Invalid(Problem(code="invalid-request", title="The request cannot be understood", errors=faults))
