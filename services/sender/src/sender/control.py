"""The API of who operates the queue: look at it, cancel, retry, give up, pause and resume."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic_core import to_json

from sender import listing, operating
from sender.control_store import COUNTED, Control, Row
from sender.operating import Change, Decision, Held, What
from tracepost import postgres
from tracepost.addresses import masked
from tracepost.http import Handler, client_of
from tracepost.keys import ANY, Client, Keys, Scope
from tracepost.problems import Invalid, Problem

SHOWN_PAUSES = 100
SECOND_COPY = "an earlier attempt may have been taken by the remote server: a second copy may arrive"


def routes(store: Control, keys: Keys, arrived: Callable[[], object]) -> list[web.RouteDef]:
    """The queue's routes; `arrived` is called when something is ready that was not."""
    desk = Desk(store, arrived)
    looks = {
        "/v1/queue": desk.totals,
        "/v1/queue/destinations": desk.destinations,
        "/v1/queue/deliveries": desk.deliveries,
        "/v1/queue/messages/{id}": desk.message,
        "/v1/pauses": desk.pauses,
        "/v1/decisions": desk.decisions,
    }
    changes = {
        "/v1/messages/{id}/cancel": desk.cancel,
        "/v1/deliveries/{id}/{number}/retry": desk.retry,
        "/v1/deliveries/{id}/{number}/give-up": desk.give_up,
        "/v1/pauses": desk.pause,
        "/v1/pauses/resume": desk.resume,
    }
    return [
        *(web.get(path, _asked(keys, "read", answer)) for path, answer in looks.items()),
        *(web.post(path, _asked(keys, "operate", answer)) for path, answer in changes.items()),
    ]


@dataclass(frozen=True, slots=True)
class Desk:
    """What is answered to a client that may ask."""

    store: Control
    arrived: Callable[[], object]

    async def totals(self, client: Client, _: web.Request) -> dict[str, Any]:
        """`GET /v1/queue`."""
        rows, oldest = await self.store.totals(client.app)
        pauses = await self.store.pauses("", SHOWN_PAUSES + 1)
        return {
            "totals": listing.totals(rows, COUNTED),
            "oldest_ready_seconds": max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else None,
            "pauses": pauses[:SHOWN_PAUSES],
            "more_pauses": len(pauses) > SHOWN_PAUSES,
        }

    async def destinations(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/queue/destinations`: those with most to send."""
        asked = listing.Destinations.model_validate(dict(request.query))
        rows, complete = await self.store.destinations(client.app, asked.limit)
        return {"destinations": [_destination(row) for row in rows], "complete": complete}

    async def deliveries(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/queue/deliveries`: what is not done."""
        asked = listing.Deliveries.model_validate(dict(request.query))
        rows, end = await self.store.deliveries(client.app, asked)
        return {"deliveries": [_delivery(row) for row in rows], "cursor": end.cursor if end else None}

    async def message(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/queue/messages/{id}`: all deliveries of a message."""
        message_id = _id(request)
        found = await self.store.message(message_id)
        if found is None or not client.may_see(found[0]["app"]):
            raise _unknown()
        return {"message_id": message_id, **found[0], "deliveries": [_delivery(row) for row in found[1]]}

    async def pauses(self, _: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/pauses`: everybody's business, for they hold up everybody's mail."""
        asked = listing.Pauses.model_validate(dict(request.query))
        rows = await self.store.pauses(asked.cursor, asked.limit)
        return {"pauses": rows, "cursor": rows[-1]["destination"] if len(rows) == asked.limit else None}

    async def decisions(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/decisions`: the journal, the newest first."""
        asked = listing.Decisions.model_validate(dict(request.query))
        rows = await self.store.decisions(client.app, asked.cursor, asked.limit)
        return {"decisions": rows, "cursor": str(rows[-1]["id"]) if len(rows) == asked.limit else None}

    async def cancel(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/messages/{id}/cancel`."""
        wish = listing.CancelWish.model_validate_json(await request.read())
        why, message_id = Decision(client.client, "cancel", wish.reason), _id(request)

        def decide(held: Sequence[Held]) -> Change:
            return operating.cancel(_own(client, held, wish.recipients), why)

        change = await self.store.change(message_id, wish.recipients, decide, why)
        results = [{"recipient_no": number, "result": result} for number, result in change.results.items()]
        return {"message_id": message_id, "recipients": results}

    async def retry(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/deliveries/{id}/{number}/retry`."""

        def decide(held: Held, _: Decision) -> Change:
            return operating.retry(held, datetime.now(UTC))

        held, told = await self._one(client, request, "retry", decide)
        if told["result"] != "ready":
            return told
        self.arrived()
        if held.outcome_unknown:
            told["detail"] = SECOND_COPY
        return told | {"paused": held.paused, "second_copy_possible": held.outcome_unknown}

    async def give_up(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/deliveries/{id}/{number}/give-up`."""
        _, told = await self._one(client, request, "give-up", lambda held, why: operating.give_up([held], why))
        return told

    async def _one(
        self, client: Client, request: web.Request, what: What, decide: Callable[[Held, Decision], Change]
    ) -> tuple[Held, dict[str, Any]]:
        """Change one delivery; answers how it was, and what is told."""
        wish = listing.Wish.model_validate_json(await request.read())
        why, message_id, number = Decision(client.client, what, wish.reason), _id(request), _number(request)
        seen: list[Held] = []

        def of_one(held: Sequence[Held]) -> Change:
            seen[:] = _own(client, held, [number])
            return decide(seen[0], why)

        change = await self.store.change(message_id, [number], of_one, why)
        return seen[0], {"message_id": message_id, "recipient_no": number, "result": change.results[number]}

    async def pause(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/pauses`."""
        wish = await _pause_wish(client, request)
        pause, is_new = await self.store.pause(wish.destination, Decision(client.client, "pause", wish.reason))
        return {"result": "paused" if is_new else "paused_before", "pause": pause}

    async def resume(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/pauses/resume`."""
        wish = await _pause_wish(client, request)
        ended = await self.store.resume(wish.destination, Decision(client.client, "resume", wish.reason))
        if ended:
            self.arrived()
        return {"result": "resumed" if ended else "not_paused", "pause": ended}


def _asked(keys: Keys, scope: Scope, answer: Callable[[Client, web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        client = client_of(request, keys, scope)
        try:
            told = await answer(client, request)
        except postgres.TRANSIENT as error:
            if isinstance(error, ValueError):  # what asyncpg cannot encode is for it a fault of the connection
                raise
            raise _unavailable() from error
        return web.Response(body=to_json(told), content_type="application/json")

    return handle


async def _pause_wish(client: Client, request: web.Request) -> listing.PauseWish:
    if client.app != ANY:
        detail = f"a pause holds up every app's mail, and the key of {client.client} is for {client.app} alone"
        raise Invalid(Problem(code="forbidden", title="The API key does not allow this", status=403, detail=detail))
    return listing.PauseWish.model_validate_json(await request.read())


def _own(client: Client, held: Sequence[Held], asked: Sequence[int] | None) -> Sequence[Held]:
    """What is held, if the client may touch it, and it is all that was asked for."""
    if not held or not client.may_see(held[0].app):
        raise _unknown()
    if missing := sorted(set(asked or ()) - {each.recipient_no for each in held}):
        detail = f"nothing was changed: the message has no recipient {', '.join(map(str, missing))}"
        raise Invalid(Problem(code="unknown-recipient", title="There is no such recipient", status=404, detail=detail))
    return held


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        detail = "write it as 8-4-4-4-12 hexadecimal digits"
        raise Invalid(Problem(code="invalid-id", title="A message's id is a UUID", status=400, detail=detail)) from None


def _number(request: web.Request) -> int:
    number = request.match_info["number"]
    if not re.fullmatch("[0-9]{1,3}", number) or int(number) > 255:
        detail = "it is the recipient's index in to + cc + bcc"
        title = "A recipient's number is 0 to 255"
        raise Invalid(Problem(code="invalid-number", title=title, status=400, detail=detail))
    return int(number)


def _unknown() -> Invalid:
    detail = "if it was published a moment ago, ask again; of what is long done only status-store knows"
    return Invalid(Problem(code="unknown-message", title="No such delivery is in the queue", status=404, detail=detail))


def _unavailable() -> Invalid:
    detail = "try again: what was changed all the same is not changed twice"
    return Invalid(Problem(code="unavailable", title="The queue is away", status=503, detail=detail))


def _delivery(row: Row) -> dict[str, Any]:
    shown = masked(row["recipient"]) if row["recipient"] else None  # None once erased
    return {**{name: value for name, value in row.items() if name != "app"}, "recipient": shown}


def _destination(row: Row) -> dict[str, Any]:
    pause = {name: row[name] for name in ("by", "reason", "since")} if row["by"] else None
    counts = ("destination", "ready", "waiting", "under_way", "oldest_ready_seconds")
    return {**{name: row[name] for name in counts}, "pause": pause}
