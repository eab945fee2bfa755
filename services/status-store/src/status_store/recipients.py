"""The API of what a recipient may ask for: erasure, withdrawal of consent, an export; each with a receipt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from pydantic_core import to_json
from uuid_utils.compat import uuid7

from status_store.asked import Kind, Wish
from status_store.receipts import Receipt, Receipts
from status_store.rollup import shown
from status_store.sse import cut
from status_store.terms import hashed
from tracepost import postgres
from tracepost.http import answer, client_of, uuid_of
from tracepost.keys import ANY, Keys
from tracepost.problems import Invalid, Problem
from tracepost.tokens import Keyring

log = structlog.get_logger()

Settle = Callable[[Receipt], Awaitable[Receipt]]


def routes(receipts: Receipts, settle: Settle, keyring: Keyring, keys: Keys) -> list[web.RouteDef]:
    """`POST /v1/recipients/erase`, `…/withdraw`, `…/export`, and `GET /v1/receipts/{id}`."""

    async def _asked(request: web.Request, kind: Kind) -> tuple[Receipt, Wish]:
        client = client_of(request, keys, "operate")
        wish = Wish.model_validate_json(await request.read())
        if kind == "erase" and client.app != ANY:
            detail = "an address is erased for all apps; it takes a client of all apps to ask for it"
            raise Invalid(Problem(code="forbidden", title="Not erased", status=403, detail=detail))
        app = None if client.app == ANY else client.app
        key = keyring.address_key(wish.address)
        return await receipts.put(uuid7(), kind, key, app, client.client, wish.reason), wish

    async def erased(request: web.Request) -> web.Response:
        receipt, wish = await _asked(request, "erase")
        letters = await receipts.erase_dead(wish.address)
        log.info("erases", receipt=str(receipt.id), by=receipt.by, dead_letters=letters)
        return answer(await _told(receipts, await settle(receipt)), status=202)

    async def withdrawn(request: web.Request) -> web.Response:
        receipt, _ = await _asked(request, "withdraw")
        return answer(await _told(receipts, await settle(receipt)), status=202)

    async def exported(request: web.Request) -> web.StreamResponse:
        receipt, wish = await _asked(request, "export")
        return await _export(receipts, request, receipt, wish.address)

    async def looked_up(request: web.Request) -> web.Response:
        client = client_of(request, keys, "operate")
        receipt = await receipts.find(uuid_of(request))
        if receipt is None or client.app not in (ANY, receipt.app):
            raise Invalid(Problem(code="unknown-receipt", title="There is no such receipt", status=404))
        return answer(await _told(receipts, receipt))

    return [
        web.post("/v1/recipients/erase", erased),
        web.post("/v1/recipients/withdraw", withdrawn),
        web.post("/v1/recipients/export", exported),
        web.get("/v1/receipts/{id}", looked_up),
    ]


async def _told(receipts: Receipts, receipt: Receipt) -> dict[str, Any]:
    """An erasure is done when nothing that it is about can be found any more."""
    told = receipt._asdict()
    del told["address_key"]
    left = 0
    if receipt.kind == "erase":
        left = len(await receipts.deliveries(receipt, hashed("to", receipt.address_key)))
    return told | {"left": left, "done": receipt.published_at is not None and not left}


async def _export(receipts: Receipts, request: web.Request, receipt: Receipt, address: str) -> web.StreamResponse:
    """Written page by page: it may be long."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    head = {"receipt": receipt.id, "address": address, "asked_at": receipt.asked_at}
    await response.write(to_json(head)[:-1] + b',"deliveries":[')
    between = ""
    try:
        async for message_id, number, message, events in receipts.export(receipt, hashed("to", receipt.address_key)):
            key = f'"message_id":"{message_id}","recipient_no":{number}'
            told = to_json(shown(message)).decode()
            await response.write(f'{between}{{{key},"message":{told},"events":{events or "[]"}}}'.encode())
            between = ","
    except postgres.TRANSIENT as error:  # what was begun cannot become a problem document
        log.warning("export broke off", receipt=str(receipt.id), reason=repr(error))
        cut(request)
        return response
    await response.write(b"]}")
    return response
