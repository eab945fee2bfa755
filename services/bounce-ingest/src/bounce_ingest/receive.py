"""Turns one returned mail into confirmed events; what is not understood is kept as a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from aio_pika import Message

from bounce_ingest.facts import facts
from bounce_ingest.parsers.values import Unparsed
from bounce_ingest.report import AutoReply, DeliveryReport, FeedbackReport, NotUnderstood, Report
from tracepost import crash, metrics
from tracepost.broker import Publisher
from tracepost.tokens import Claim, Keyring
from tracepost.topology import DEAD

log = structlog.get_logger()

Parse = Callable[[bytes], Awaitable[Report | Unparsed]]


async def receive(parse: Parse, publisher: Publisher, keyring: Keyring, claim: Claim, mail: bytes) -> None:
    """Return when the broker has confirmed all that the mail says of the delivery; NotConfirmed if it has not."""
    report = await parse(mail)
    told = [] if isinstance(report, Unparsed) else facts(report, claim, keyring, mail)
    crash.point("bounce-ingest.before-publish")
    await asyncio.gather(*(publisher.publish(each) for each in told))
    if isinstance(report, NotUnderstood | Unparsed):
        await publisher.send(_kept(claim, mail, report.reason), DEAD, "bounce-ingest.smtp")
    crash.point("bounce-ingest.confirmed")
    metrics.REPORTS.labels(_kind(report), "told" if told else "nothing-told").inc()
    log.info("report", kind=_kind(report), message_id=claim.message_id, told=[each.name for each in told])


def _kind(report: Report | Unparsed) -> str:
    match report:
        case DeliveryReport():
            return "delivery-report"
        case FeedbackReport():
            return "feedback-report"
        case AutoReply():
            return "auto-reply"
        case NotUnderstood() | Unparsed():
            return "not-understood"


def _kept(claim: Claim, mail: bytes, reason: str) -> Message:
    headers = {
        "tracepost-code": "not-understood",
        "tracepost-reason": reason,
        "tracepost-subject": f"{claim.message_id}/{claim.recipient_no}",
        "tracepost-time": datetime.now(UTC).isoformat(),
    }
    return Message(mail, content_type="message/rfc822", headers=dict(headers))
