"""The API of the quarantine: list, show, run again, classify by hand, drop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import TypeAdapter

from bounce_ingest.parsers.values import NoParser
from bounce_ingest.quarantine.asked import Again, Classification, Listing, told
from bounce_ingest.quarantine.store import Quarantine
from bounce_ingest.quarantine.values import Entry, Held
from tracepost import postgres
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import AnyEvent
from tracepost.http import Handler, answer, client_of
from tracepost.keys import ANY, Client, Keys, Scope
from tracepost.problems import Invalid, Problem

log = structlog.get_logger()

MOST_SHOWN = 200_000  # bytes of a report in an answer; all of it is at …/raw

# What a report says by the rules of now: events, perhaps none, or why it is held. One for each kind of way.
Read = Callable[[Entry], Awaitable[Sequence[AnyEvent] | Held]]

# What a decision needs is away; postgres.TRANSIENT holds errors of asyncpg.
AWAY: tuple[type[Exception], ...] = (NotConfirmed, Unroutable, NoParser, *postgres.TRANSIENT)

_classification: TypeAdapter[Any] = TypeAdapter(Classification)


@dataclass(frozen=True, slots=True)
class Desk:
    """What is answered to a client that may ask."""

    quarantine: Quarantine
    publisher: Publisher
    readers: Mapping[str, Read]

    async def listed(self, _: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/quarantine`: without what they say."""
        asked = Listing.model_validate(dict(request.query))
        found = await self.quarantine.page(asked.reason, asked.cursor, asked.limit)
        return {"reports": [_told(each) for each in found], "cursor": _cursor(found, asked.limit)}

    async def counted(self, _: Client, __: web.Request) -> dict[str, Any]:
        """`GET /v1/quarantine/counts`."""
        return {"counts": [each._asdict() for each in await self.quarantine.kept()]}

    async def shown(self, _: Client, request: web.Request) -> dict[str, Any]:
        """`GET /v1/quarantine/{id}`: its beginning as text, as far as it is text."""
        entry = await self._found(request)
        raw = entry.held.raw
        shown = raw[:MOST_SHOWN].decode(errors="replace").replace("\0", "\ufffd")
        return _told(entry) | {"raw": shown, "raw_is_cut": len(raw) > MOST_SHOWN}

    async def released(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/quarantine/{id}/release`: told if it can be told now."""
        entry = await self._found(request)
        said = await self._run(entry)
        _note("released", client, entry)
        if isinstance(said, Held):
            return {"result": "held", "reason": said.reason, "detail": said.detail}
        return {"result": "told", "events": [_event(each) for each in said]}

    async def classified(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/quarantine/{id}/classify`: a person says what it is about."""
        said = _classification.validate_json(await request.read())
        entry = await self._found(request)
        event = told(entry, said)
        await self.publisher.publish(event)
        await self.quarantine.drop(entry.id)
        _note("classified", client, entry)
        return {"result": "told", "events": [_event(event)]}

    async def run_again(self, client: Client, request: web.Request) -> dict[str, Any]:
        """`POST /v1/quarantine/run-again`: so many reports, and where to go on; after a rule was added, say."""
        asked = Again.model_validate_json(await request.read() or b"{}")
        found = await self.quarantine.page(asked.reason, asked.cursor, asked.limit)
        said = await asyncio.gather(*(self._run_if_there(each.id) for each in found))
        log.info("run again", by=client.client, reports=len(found), told=sum(said))
        return {"looked_at": len(found), "told": sum(said), "cursor": _cursor(found, asked.limit)}

    async def _run_if_there(self, id_: UUID) -> bool:
        """Whether it is told now."""
        entry = await self.quarantine.get(id_)
        if entry is None or entry.erased_at or not self._reader(entry):
            return False
        return not isinstance(await self._run(entry), Held)

    async def _run(self, entry: Entry) -> Sequence[AnyEvent] | Held:
        """Tell what can be told, and then forget it; a report that went on to be told twice has the same events."""
        if entry.erased_at:
            raise _erased()
        if not (read := self._reader(entry)):
            raise _not_again(entry.held.way)
        said = await read(entry)
        if isinstance(said, Held):
            await self.quarantine.restate(entry.id, said)
        else:
            await asyncio.gather(*(self.publisher.publish(each) for each in said))
            await self.quarantine.drop(entry.id)
        return said

    def _reader(self, entry: Entry) -> Read | None:
        return self.readers.get(entry.held.way.partition(":")[0])

    async def _found(self, request: web.Request) -> Entry:
        entry = await self.quarantine.get(_id(request))
        if entry is None:
            raise _unknown()
        return entry


def routes(quarantine: Quarantine, publisher: Publisher, keys: Keys, readers: Mapping[str, Read]) -> list[web.RouteDef]:
    """`/v1/quarantine…`; `readers` by the first word of the way that a report came."""
    desk = Desk(quarantine, publisher, readers)

    async def raw(request: web.Request) -> web.Response:
        _client(request, keys, "read")
        held = (await desk._found(request)).held
        # Never shown as a page: it is a stranger's.
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=held.raw, content_type=held.content_type, headers=headers)

    async def dropped(request: web.Request) -> web.Response:
        client, id_ = _client(request, keys, "operate"), _id(request)
        if not await quarantine.drop(id_):
            raise _unknown()
        log.info("decided by hand", what="dropped", by=client.client, id=id_)
        return web.Response(status=204)

    return [
        web.get("/v1/quarantine", _asked(keys, "read", desk.listed)),
        web.get("/v1/quarantine/counts", _asked(keys, "read", desk.counted)),
        web.post("/v1/quarantine/run-again", _asked(keys, "operate", desk.run_again)),
        web.get("/v1/quarantine/{id}", _asked(keys, "read", desk.shown)),
        web.get("/v1/quarantine/{id}/raw", _safe(raw)),
        web.post("/v1/quarantine/{id}/release", _asked(keys, "operate", desk.released)),
        web.post("/v1/quarantine/{id}/classify", _asked(keys, "operate", desk.classified)),
        web.delete("/v1/quarantine/{id}", _safe(dropped)),
    ]


def _asked(keys: Keys, scope: Scope, tell: Callable[[Client, web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return answer(await tell(_client(request, keys, scope), request))

    return _safe(handle)


def _safe(handler: Handler) -> Handler:
    """Says that it may be tried again when what it needs is away."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except AWAY as error:
            if isinstance(error, ValueError):  # what asyncpg cannot encode is for it a fault of the connection
                raise
            detail = "try again: what was told all the same is not told twice"
            raise Invalid(
                Problem(code="unavailable", title="The quarantine is away", status=503, detail=detail)
            ) from error

    return handle


def _client(request: web.Request, keys: Keys, scope: Scope) -> Client:
    client = client_of(request, keys, scope)
    if client.app != ANY:
        detail = f"reports are held because nobody knows whose they are; the key of {client.client} is for {client.app}"
        raise Invalid(Problem(code="forbidden", title="The API key does not allow this", status=403, detail=detail))
    return client


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise _unknown() from None


def _unknown() -> Invalid:
    detail = "it may have been told, dropped, or gone with the oldest"
    return Invalid(Problem(code="unknown-report", title="There is no such report", status=404, detail=detail))


def _erased() -> Invalid:
    detail = "what it said was about somebody whose data were erased; it can only be dropped"
    return Invalid(Problem(code="erased", title="The report is empty", status=409, detail=detail))


def _not_again(way: str) -> Invalid:
    detail = f"what came by {way} is not read again: classify it by hand, or drop it"
    return Invalid(Problem(code="not-again", title="The report cannot be run again", status=409, detail=detail))


def _told(entry: Entry) -> dict[str, Any]:
    held = entry.held
    return {
        "id": entry.id,
        "reason": held.reason,
        "detail": held.detail,
        "received_at": entry.received_at,
        "subject": held.subject,
        "way": held.way,
        "about": held.about,
        "size": entry.size,
        "content_type": held.content_type,
        "erased_at": entry.erased_at,
    }


def _event(event: AnyEvent) -> dict[str, Any]:
    return {"id": event.id, "event": event.name, "subject": event.subject}


def _cursor(found: Sequence[Entry], limit: int) -> str | None:
    return str(found[-1].seq) if len(found) == limit else None


def _note(what: str, client: Client, entry: Entry) -> None:
    log.info("decided by hand", what=what, by=client.client, id=entry.id, reason=entry.held.reason)
