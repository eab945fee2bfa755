"""The status of a delivery: the one table of precedence over what its events add up to; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from status_store.fold import Delivery, Fact, Gravity, gravity, moment, weight
from tracepost.events import (
    Accepted,
    Bounced,
    Cancelled,
    Complained,
    Deferred,
    Delivered,
    Opened,
    Rejected,
    Replied,
)

Status = Literal[
    "spam", "hard_bounce", "rejected", "failed", "cancelled", "read", "delivered", "unknown", "deferred", "queued"
]
Deciding = Accepted | Rejected | Deferred | Delivered | Bounced | Complained | Opened | Replied | Cancelled


def _bounce(known: Delivery, kind: Gravity) -> Fact[Bounced] | None:
    return known.bounced if known.bounced and gravity(known.bounced.data) is kind else None


def _receipt(known: Delivery) -> Fact[Deciding] | None:
    opens = [each.first for each in known.opens.values()]
    signs: list[Fact[Deciding] | None] = [known.replied, known.complained, known.not_spam, *opens]
    return known.delivered or min(filter(None, signs), key=moment, default=None)


def _reading(known: Delivery) -> Fact[Replied | Opened] | None:
    opens = [each.first for verdict, each in known.opens.items() if verdict in ("person", "proxied")]
    proofs: list[Fact[Replied | Opened] | None] = [known.replied, *opens]
    return min(filter(None, proofs), key=moment, default=None)


def _spam(known: Delivery) -> Fact[Complained | Bounced] | None:
    complaint, undone = known.complained, known.not_spam
    if complaint and complaint.data.certainty == "exact" and (not undone or weight(complaint) > weight(undone)):
        return complaint
    return _bounce(known, Gravity.SPAM)


def _hard_bounce(known: Delivery) -> Fact[Bounced] | None:
    return _bounce(known, Gravity.HARD)


def _rejection(known: Delivery) -> Fact[Rejected] | None:
    return known.rejected if known.rejected and not _receipt(known) else None


def _dead_forward(known: Delivery) -> Fact[Bounced] | None:
    return _bounce(known, Gravity.DEAD_FORWARD)


def _failure(known: Delivery) -> Fact[Bounced] | None:
    if forward := _dead_forward(known):
        return None if _reading(known) else forward
    if expired := _bounce(known, Gravity.EXPIRED_UNSURE):
        return None if _receipt(known) else expired
    return _bounce(known, Gravity.OTHER)


def _cancellation(known: Delivery) -> Fact[Cancelled] | None:
    return known.cancelled if known.cancelled and not _receipt(known) else None


def _unknown(known: Delivery) -> Fact[Deferred] | None:
    last = known.deferred
    return last if last and last.data.parked and last.data.outcome_unknown else None


class Row(NamedTuple):
    """A status, and the fact for which a delivery has it."""

    status: Status
    shown_as: str
    rule: str
    deciding: Callable[[Delivery], Fact[Deciding] | None]


# The first row with a deciding fact applies, else the last one.
PRECEDENCE = (
    Row("spam", "Delivery issue: spam", "a complaint stands, or it was refused as spam", _spam),
    Row("hard_bounce", "Delivery issue: hard bounce", "returned: the address is dead", _hard_bounce),
    Row("rejected", "Delivery issue: rejected", "not tried: the address is suppressed", _rejection),
    Row("failed", "Delivery issue", "given up, or returned for another cause", _failure),
    Row("cancelled", "Cancelled", "cancelled before any sign of receipt", _cancellation),
    Row("read", "Read", "answered, or opened by a person", _reading),
    Row("delivered", "Delivered", "there is a sign of receipt", _receipt),
    Row("unknown", "Sent, outcome unknown", "parked: nobody knows whether it was received", _unknown),
    Row("deferred", "Sending (delayed)", "not taken yet", lambda known: known.deferred),
    Row("queued", "Sending", "accepted, or nothing known yet", lambda known: known.accepted),
)

# What an agent is told beside the status.
NOTES: tuple[tuple[str, Callable[[Delivery], object]], ...] = (
    ("refused at an address that it was forwarded to", _dead_forward),
    ("opened by a privacy proxy", lambda known: "prefetched" in known.opens),
    ("cancelled too late", lambda known: known.cancelled and _receipt(known)),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """The status of a delivery, and why: the rule, the event that decided and its time, the cause in words."""

    status: Status
    shown_as: str
    rule: str
    event_id: UUID | None = None
    time: datetime | None = None
    cause: str | None = None
    notes: tuple[str, ...] = ()


def status(delivery: Delivery) -> Standing:
    """The status by the first row of the table that applies."""
    for row in PRECEDENCE:
        if fact := row.deciding(delivery):
            notes = tuple(note for note, applies in NOTES if applies(delivery))
            return Standing(row.status, row.shown_as, row.rule, fact.event_id, fact.time, _cause(fact.data), notes)
    return Standing(row.status, row.shown_as, row.rule)


def _cause(data: Deciding) -> str | None:
    match data:
        case Bounced() | Deferred():
            return ": ".join(filter(None, (data.category.replace("_", " "), data.diagnostic)))
        case Rejected():
            return f"suppressed: {data.reason.replace('_', ' ')}"
        case Complained():
            return f"reported as {data.feedback_type}"
        case Cancelled():
            return data.reason
        case Accepted() | Delivered() | Opened() | Replied():
            return None
