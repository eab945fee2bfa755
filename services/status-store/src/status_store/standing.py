"""The status of a delivery: the one table of precedence over what its events add up to; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from status_store.fold import Delivery, Fact, Gravity, Mark, gravity, moment, weight
from tracepost.events import Bounced, Cancelled, Complained, Data, Deferred, Rejected

Status = Literal[
    "spam", "hard_bounce", "rejected", "failed", "cancelled", "read", "delivered", "unknown", "deferred", "queued"
]
Denial = Literal["was_received", "was_read", "taken_back"]


def _receipt(known: Delivery) -> Mark | None:
    if known.delivered:
        return known.delivered
    opens = [each.first for each in known.opens.values()]
    return _first(known.replied, known.complained, known.not_spam, *opens)


def reading(known: Delivery) -> Mark | None:
    """What shows that a person has read it, the earliest."""
    opens = [each.first for verdict, each in known.opens.items() if verdict in ("person", "proxied")]
    return _first(known.replied, *opens)


def _first(*facts: Mark | None) -> Mark | None:
    found = None
    for fact in facts:
        if fact and (not found or moment(fact) < moment(found)):
            found = fact
    return found


def _complaint(known: Delivery) -> Fact[Complained] | None:
    return known.complained if known.complained and known.complained.data.certainty == "exact" else None


def _taking_back(known: Delivery) -> Fact[Complained] | None:
    complaint, undoing = known.complained, known.not_spam
    return undoing if complaint and undoing and weight(undoing) > weight(complaint) else None


def _bounce(kind: Gravity) -> Callable[[Delivery], Fact[Bounced] | None]:
    def bounce(known: Delivery) -> Fact[Bounced] | None:
        return known.bounced if known.bounced and gravity(known.bounced.data) is kind else None

    return bounce


def _unknown(known: Delivery) -> Fact[Deferred] | None:
    last = known.deferred
    return last if last and last.data.parked and last.data.outcome_unknown else None


class Unless(NamedTuple):
    """What keeps a fact from deciding: another fact, where there is one."""

    denial: Denial
    fact: Callable[[Delivery], Mark | None]


class Claim(NamedTuple):
    """A fact that asks for a status."""

    fact: Callable[[Delivery], Mark | None]
    unless: Unless | None = None


class Row(NamedTuple):
    """A status, and the facts for which a delivery has it, the first that holds before the others."""

    status: Status
    shown_as: str
    rule: str
    claims: tuple[Claim, ...]

    def deciding(self, known: Delivery) -> Mark | None:
        """The fact for which the delivery has this status, where no row above gives another."""
        for fact, unless in self.claims:
            if (asking := fact(known)) and not (unless and unless.fact(known)):
                return asking
        return None


_RECEIVED = Unless("was_received", _receipt)
_READ = Unless("was_read", reading)
_TAKEN_BACK = Unless("taken_back", _taking_back)
_DEAD_FORWARD = _bounce(Gravity.DEAD_FORWARD)

# The first row with a deciding fact applies, else the last one.
PRECEDENCE = (
    Row(
        "spam",
        "Delivery issue: spam",
        "a complaint stands, or it was refused as spam",
        (Claim(_complaint, _TAKEN_BACK), Claim(_bounce(Gravity.SPAM))),
    ),
    Row(
        "hard_bounce",
        "Delivery issue: hard bounce",
        "returned: the address is dead",
        (Claim(_bounce(Gravity.HARD)),),
    ),
    Row(
        "rejected",
        "Delivery issue: rejected",
        "not tried: the address is suppressed",
        (Claim(lambda known: known.rejected, _RECEIVED),),
    ),
    Row(
        "failed",
        "Delivery issue",
        "given up, or returned for another cause",
        (
            Claim(_bounce(Gravity.OTHER)),
            Claim(_DEAD_FORWARD, _READ),
            Claim(_bounce(Gravity.EXPIRED_UNSURE), _RECEIVED),
        ),
    ),
    Row(
        "cancelled",
        "Cancelled",
        "cancelled before any sign of receipt",
        (Claim(lambda known: known.cancelled, _RECEIVED),),
    ),
    Row("read", "Read", "answered, or opened by a person", (Claim(reading),)),
    Row("delivered", "Delivered", "there is a sign of receipt", (Claim(_receipt),)),
    Row("unknown", "Sent, outcome unknown", "parked: nobody knows whether it was received", (Claim(_unknown),)),
    Row("deferred", "Sending (delayed)", "not taken yet", (Claim(lambda known: known.deferred),)),
    Row("queued", "Sending", "accepted, or nothing known yet", (Claim(lambda known: known.accepted),)),
)


# What nearly all deliveries are: none of the other rows applies without a bounce, complaint, rejection or cancellation.
UNTROUBLED: frozenset[Status] = frozenset({"read", "delivered", "unknown", "deferred", "queued"})


class Note(NamedTuple):
    """What an agent is told beside the status; the code is for programs, which may have words of their own."""

    code: str
    text: str
    applies: Callable[[Delivery], object]


NOTES = (
    Note("forwarded", "refused at an address that it was forwarded to", _DEAD_FORWARD),
    Note("prefetched", "opened by a privacy proxy", lambda known: "prefetched" in known.opens),
    Note("taken_back", "reported as spam, and taken back", _taking_back),
    Note("cancelled_late", "cancelled too late", lambda known: known.cancelled and _receipt(known)),
)


# Where all is well, what decided is no cause: a complaint that was taken back is a sign of receipt.
NO_CAUSE: tuple[Status, ...] = ("read", "delivered", "queued")


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


def holding(delivery: Delivery) -> list[tuple[Row, Mark]]:
    """Every row that applies and the fact for which it does, the row that gives the status first."""
    return [(row, fact) for row in PRECEDENCE if (fact := row.deciding(delivery))]


def denied(delivery: Delivery) -> dict[UUID, tuple[Denial, Mark]]:
    """By event: what keeps it from deciding in the row that it asks for."""
    found = {}
    for fact, unless in (claim for row in PRECEDENCE for claim in row.claims):
        if unless and (asking := fact(delivery)) and (against := unless.fact(delivery)):
            found[asking.event_id] = (unless.denial, against)
    return found


def applying(delivery: Delivery) -> tuple[Row, Mark | None]:
    """The first row of the table that applies, and the fact for which it does."""
    troubled = delivery.bounced or delivery.complained or delivery.rejected or delivery.cancelled
    for row in PRECEDENCE:
        if (troubled or row.status in UNTROUBLED) and (fact := row.deciding(delivery)):
            return row, fact
    return row, None


def status(delivery: Delivery) -> Standing:
    """The status by the first row of the table that applies."""
    row, fact = applying(delivery)
    if fact is None:
        return Standing(row.status, row.shown_as, row.rule)
    notes = tuple([note.text for note in NOTES if note.applies(delivery)])
    cause = _cause(fact.data) if isinstance(fact, Fact) and row.status not in NO_CAUSE else None
    return Standing(row.status, row.shown_as, row.rule, fact.event_id, fact.time, cause, notes)


def _cause(data: Data) -> str | None:
    match data:
        case Bounced() | Deferred():
            return ": ".join(filter(None, (data.category.replace("_", " "), data.diagnostic)))
        case Rejected():
            return f"suppressed: {data.reason.replace('_', ' ')}"
        case Complained():
            return f"reported as {data.feedback_type}"
        case Cancelled():
            return data.reason
    return None
