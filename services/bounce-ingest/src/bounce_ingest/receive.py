"""Turns one returned mail into confirmed events; what is not understood is kept as a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from aio_pika import Message

from bounce_ingest.facts import delivery, facts
from bounce_ingest.parsers.values import Unparsed
from bounce_ingest.report import (
    AutoReply,
    DeliveryReport,
    DispositionReport,
    FeedbackReport,
    NotUnderstood,
    Report,
)
from tracepost import crash, metrics
from tracepost.broker import Publisher
from tracepost.tokens import Claim, Keyring
from tracepost.topology import DEAD

log = structlog.get_logger()

Parse = Callable[[bytes], Awaitable[Report | Unparsed]]


async def receive(parse: Parse, publisher: Publisher, keyring: Keyring, claim: Claim | None, mail: bytes) -> None:
    """Return when the broker has confirmed all that the mail says of the delivery; NotConfirmed if it has not.

    `claim` is the return path's; without one, the returned message itself may tell which delivery it is about.
    """
    report = await parse(mail)
    about = claim if isinstance(report, Unparsed) else delivery(report, claim, keyring)
    told = facts(report, about, keyring, mail) if about and not isinstance(report, Unparsed) else []
    crash.point("bounce-ingest.before-publish")
    await asyncio.gather(*(publisher.publish(each) for each in told))
    if reason := _why_kept(report, about):
        await publisher.send(_kept(about, mail, reason), DEAD, "bounce-ingest.smtp")
    crash.point("bounce-ingest.confirmed")
    metrics.REPORTS.labels(_kind(report), "told" if told else "nothing-told").inc()
    log.info("report", kind=_kind(report), message_id=about and about.message_id, told=[each.name for each in told])


def _why_kept(report: Report | Unparsed, about: Claim | None) -> str | None:
    """Why the mail must be kept for a person; None if it need not be."""
    match report:
        case NotUnderstood(reason) | Unparsed(reason):
            return reason
        case DeliveryReport() | FeedbackReport() | DispositionReport():
            return None if about else "no_delivery"
        case AutoReply():
            return None


def _kind(report: Report | Unparsed) -> str:
    match report:
        case DeliveryReport():
            return "delivery-report"
        case FeedbackReport():
            return "feedback-report"
        case DispositionReport():
            return "disposition-report"
        case AutoReply():
            return "auto-reply"
        case NotUnderstood() | Unparsed():
            return "not-understood"


def _kept(about: Claim | None, mail: bytes, reason: str) -> Message:
    headers = {
        "tracepost-code": "not-understood",
        "tracepost-reason": reason,
        "tracepost-time": datetime.now(UTC).isoformat(),
    }
    if about:
        headers["tracepost-subject"] = f"{about.message_id}/{about.recipient_no}"
    return Message(mail, content_type="message/rfc822", headers=dict(headers))
