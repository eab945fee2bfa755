"""Publishes what was asked for addresses: an event for every delivery, until all that there are have it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from status_store.receipts import Receipt, Receipts
from status_store.terms import hashed
from tracepost import postgres
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import AnyEvent, Erased, Withdrawn, derived_id, event

log = structlog.get_logger()

EVERY_SECONDS = 60.0
# An `accepted` may still come for as long as an id is taken, and be in a queue for a day.
LATEST = timedelta(days=8)
AT_ONCE = 500

WAITS: tuple[type[Exception], ...] = (*postgres.TRANSIENT, NotConfirmed, Unroutable)


async def keep_on(receipts: Receipts, publisher: Publisher) -> None:
    """For ever: what could not be published, and what came later than the wish of erasure that it falls under."""
    while True:
        try:
            for each in await receipts.open(LATEST):
                await settle(receipts, publisher, each)
        except WAITS as error:
            log.warning("what was asked for addresses waits", reason=repr(error))
        await asyncio.sleep(EVERY_SECONDS)


async def settle_soon(receipts: Receipts, publisher: Publisher, receipt: Receipt) -> Receipt:
    """Settle it at once where that is possible; else it is done later, and the receipt says that it is not yet."""
    try:
        return await settle(receipts, publisher, receipt)
    except WAITS as error:
        log.warning("is published later", receipt=str(receipt.id), reason=repr(error))
        return receipt


async def settle(receipts: Receipts, publisher: Publisher, receipt: Receipt) -> Receipt:
    """Publish the events of all deliveries that there are; one of WAITS when that is not possible now."""
    found = await receipts.deliveries(receipt, hashed("to", receipt.address_key))
    told = [_told(receipt, message_id, number) for message_id, number in found]
    if not told and not receipt.published_at and receipt.kind == "erase":
        told = [_told(receipt, f"recipient/{receipt.address_key}", None)]
    for start in range(0, len(told), AT_ONCE):
        await asyncio.gather(*map(publisher.publish, told[start : start + AT_ONCE]))
    return await receipts.published(receipt, len(found)) if told or not receipt.published_at else receipt


def _told(receipt: Receipt, about: str, number: int | None) -> AnyEvent:
    # The same id each time: a delivery that is told twice knows it.
    id_ = derived_id(receipt.kind, receipt.id, about, number)
    data = (
        Erased(by=receipt.by, reason=receipt.reason, address_key=receipt.address_key)
        if receipt.kind == "erase"
        else Withdrawn(by=receipt.by, reason=receipt.reason)
    )
    return event("status-store", about, number, data, id=id_, time=receipt.asked_at)
