"""Learns from events whom not to write to: hard bounces and complaints suppress, not-spam undoes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from sender.store import Queue
from tracepost.events import AnyEvent, Bounced, Complained, Data, Rejected, RejectionReason
from tracepost.logs import masked
from tracepost.problems import Problem
from tracepost.tokens import Keyring

log = structlog.get_logger()


async def learn(queue: Queue, keyring: Keyring, batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
    """Add or lift suppressions; only exact evidence counts."""
    for event in batch:
        if isinstance(event.data, Bounced | Complained) and event.data.certainty == "exact":
            await _apply(queue, keyring, event)
    return {}


async def _apply(queue: Queue, keyring: Keyring, event: AnyEvent) -> None:
    address = await queue.recipient(event.message_id, event.recipient_no)
    if address is None:
        log.info("unknown delivery", message_id=event.message_id, event_id=event.id)
        return
    key = keyring.address_key(address)
    if isinstance(event.data, Complained) and event.data.feedback_type == "not-spam":
        await queue.lift_complaint(key, address, event.time)
    elif found := reason(event.data):
        evidence = Rejected(reason=found, since=event.time, evidence_event=event.id, evidence_message=event.message_id)
        await queue.suppress(key, address, evidence)
        log.info("suppressed", recipient=masked(address), reason=found, event_id=event.id)


def reason(data: Data) -> RejectionReason | None:
    """Why an event suppresses its address, or None if it does not."""
    match data:
        case Bounced(bounce_class="hard", forwarded_to=None):
            return "hard_bounce"
        case Complained(feedback_type="abuse" | "fraud" | "virus" | "other"):
            return "spam_complaint"
        case Complained(feedback_type="opt-out"):
            return "unsubscribed"
        case _:
            return None
