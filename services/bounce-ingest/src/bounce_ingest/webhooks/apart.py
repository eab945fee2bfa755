"""Sets apart as a dead letter what a webhook told and nobody can place."""

from __future__ import annotations

from datetime import UTC, datetime

from aio_pika import Message

from bounce_ingest.webhooks.values import SetApart
from tracepost.broker import Publisher
from tracepost.topology import DEAD


async def set_apart(publisher: Publisher, told: SetApart) -> None:
    """Return when the broker has confirmed it; NotConfirmed or Unroutable if it has not."""
    headers = {
        "tracepost-code": told.reason.replace("_", "-"),
        "tracepost-reason": told.why,
        "tracepost-time": datetime.now(UTC).isoformat(),
    }
    if told.claim:
        headers["tracepost-subject"] = f"{told.claim.message_id}/{told.claim.recipient_no}"
    message = Message(told.raw, content_type="application/json", headers=dict(headers))
    await publisher.send(message, DEAD, f"bounce-ingest.{told.way}")
