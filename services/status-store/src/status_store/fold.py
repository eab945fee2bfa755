"""The pure fold: what a set of events says about one delivery."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import IntEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

from tracepost.events import (
    Accepted,
    AnyEvent,
    Bounced,
    Cancelled,
    Complained,
    Data,
    Deferred,
    Delivered,
    Erased,
    FeedbackType,
    Opened,
    Rejected,
    Replied,
    StatusChanged,
    Tracking,
    Verdict,
    Withdrawn,
)

# Raised with every change of what the same events give, so that `refold` finds what older rules folded.
RULES_VERSION = 1

ERASED = "(erased)"


class Acceptance(Data):
    """What an `accepted` says of its recipient; what it says of the message is kept with that."""

    recipient: str
    track_opens: Tracking
    has_html: bool


# The fields that name, quote or describe the recipient; a type that is not here has none.
PERSONAL: dict[type[Data], tuple[str, ...]] = {
    Acceptance: ("recipient",),
    Accepted: ("recipient", "subject_line"),
    Deferred: ("diagnostic",),
    Bounced: ("diagnostic", "forwarded_to"),
    Delivered: ("response",),
    Opened: ("client", "ip"),
    Cancelled: ("reason",),
    Withdrawn: ("reason",),
    Erased: ("reason",),
}

Body = TypeVar("Body", bound=Data)
Body_co = TypeVar("Body_co", bound=Data, covariant=True)


@dataclass(frozen=True, slots=True)
class Mark:
    """Which event it was, and when: all that the rules ask of most kinds, and so all that is kept of them here."""

    event_id: UUID
    time: datetime


@dataclass(frozen=True, slots=True)
class Fact(Mark, Generic[Body_co]):
    """What one event said, and which event that was."""

    data: Body_co


AnyMark = TypeVar("AnyMark", bound=Mark)


@dataclass(frozen=True, slots=True)
class Opens:
    """The opens with one verdict."""

    first: Mark
    last: Mark
    count: int


@dataclass(slots=True)  # not frozen: to make it would take four times as long, a third of the fold
class Delivery:
    """What is known of one delivery: of each kind of event the one that matters most, and every open counted."""

    accepted: Fact[Acceptance] | None = None
    rejected: Fact[Rejected] | None = None
    deferred: Fact[Deferred] | None = None
    delivered: Mark | None = None
    bounced: Fact[Bounced] | None = None
    complained: Fact[Complained] | None = None
    not_spam: Fact[Complained] | None = None
    replied: Mark | None = None
    cancelled: Fact[Cancelled] | None = None
    withdrawn: Mark | None = None
    erased: Mark | None = None
    opens: dict[Verdict, Opens] = field(default_factory=dict)


NOTHING = Delivery()
_stored = TypeAdapter(Delivery)
_NAMES = [each.name for each in fields(Delivery)]
_values = attrgetter(*_NAMES)


def to_json(delivery: Delivery) -> str:
    """The delivery as it is stored."""
    return _stored.dump_json(delivery, exclude_none=True).decode()


def from_json(text: str | bytes) -> Delivery:
    """The delivery that was stored; pydantic.ValidationError for what cannot be one."""
    return _stored.validate_json(text)


def fold(events: Iterable[AnyEvent], onto: Delivery = NOTHING) -> Delivery:
    """Add events that `onto` has not seen, in any order; where `needs_history`, fold all events onto NOTHING instead.

    Of events with the same id the first counts, as in an insert that skips conflicts.
    """
    facts: dict[str, Any] = dict(zip(_NAMES, _values(onto), strict=True))
    for event in _in_turn(list(events)):
        if not (facts["withdrawn"] and _withheld(event, facts["withdrawn"])):
            _join(facts, event)
    if facts["erased"]:
        facts = _redacted(facts)
    return Delivery(**facts)


def _in_turn(events: list[AnyEvent]) -> list[AnyEvent]:
    if len(events) == 1:
        return events
    unseen = {event.id: event for event in reversed(events)}
    # Withdrawals go first: they decide which opens count.
    return sorted(unseen.values(), key=lambda event: not isinstance(event.data, Withdrawn))


def needs_history(delivery: Delivery, unseen: Iterable[AnyEvent]) -> bool:
    """Whether a `withdrawn` among the unseen events takes back an open that the delivery has counted."""
    withdrawals = [event.time for event in unseen if isinstance(event.data, Withdrawn)]
    return bool(withdrawals) and any(opens.last.time > min(withdrawals) for opens in delivery.opens.values())


def redact(data: Body) -> Body:
    """What erasure leaves of an event's data; an empty field stays empty, for the rules ask whether there is one."""
    gone = {name: ERASED for name in PERSONAL.get(type(data), ()) if getattr(data, name)}
    return data.model_copy(update=gone) if gone else data


def private(event: AnyEvent, delivery: Delivery) -> AnyEvent | None:
    """What may stay stored of an event of an erased delivery, or of an open after the withdrawal; None: all of it."""
    if not (delivery.erased or (delivery.withdrawn and _withheld(event, delivery.withdrawn))):
        return None
    data = redact(event.data)
    return None if data == event.data else event.model_copy(update={"data": data})


def _join(facts: dict[str, Any], event: AnyEvent) -> None:
    """Let the event be, or decide it against, the fact that it can become."""
    match event.data:
        case Delivered() | Replied() | Withdrawn() | Erased():
            facts[event.name] = _earliest(facts[event.name], Mark(event.id, event.time))
        case Opened(verdict=verdict):
            facts["opens"] = _counted(facts["opens"], verdict, Mark(event.id, event.time))
        case Accepted() as said:
            data = Acceptance.model_construct(
                recipient=said.recipient, track_opens=said.track_opens, has_html=said.has_html
            )
            facts["accepted"] = _earliest(facts["accepted"], Fact(event.id, event.time, data))
        case Rejected() | Cancelled():
            facts[event.name] = _earliest(facts[event.name], Fact(event.id, event.time, event.data))
        case Deferred():
            facts["deferred"] = _latest(facts["deferred"], Fact(event.id, event.time, event.data))
        case Bounced():
            facts["bounced"] = _gravest(facts["bounced"], Fact(event.id, event.time, event.data))
        case Complained(feedback_type=kind):
            if place := _feedback_place(kind):
                facts[place] = _surest(facts[place], Fact(event.id, event.time, event.data))
        case StatusChanged():  # it repeats what a fold said
            pass


def _feedback_place(kind: FeedbackType) -> str | None:
    match kind:
        case "abuse" | "fraud" | "virus" | "other":
            return "complained"
        case "not-spam":
            return "not_spam"
        case "opt-out":  # a wish about later messages
            return None


def _withheld(event: AnyEvent, withdrawn: Mark) -> bool:
    return isinstance(event.data, Opened) and event.time > withdrawn.time


def moment(fact: Mark) -> tuple[datetime, UUID]:
    """Ids part equal times, so that the order of arrival never matters."""
    return fact.time, fact.event_id


def weight(fact: Fact[Complained]) -> tuple[bool, datetime, UUID]:
    """The later feedback outweighs the earlier, but what was placed by hand never what came with a valid token."""
    return fact.data.certainty == "exact", *moment(fact)


def _earliest(known: AnyMark | None, new: AnyMark) -> AnyMark:
    return min(known, new, key=moment) if known else new


def _latest(known: AnyMark | None, new: AnyMark) -> AnyMark:
    return max(known, new, key=moment) if known else new


def _gravest(known: Fact[Bounced] | None, new: Fact[Bounced]) -> Fact[Bounced]:
    return min(known or new, new, key=lambda fact: (gravity(fact.data), *moment(fact)))


def _surest(known: Fact[Complained] | None, new: Fact[Complained]) -> Fact[Complained]:
    return max(known or new, new, key=weight)


def _counted(known: dict[Verdict, Opens], verdict: Verdict, new: Mark) -> dict[Verdict, Opens]:
    opens = known.get(verdict)
    more = (
        Opens(_earliest(opens.first, new), _latest(opens.last, new), opens.count + 1) if opens else Opens(new, new, 1)
    )
    # In one order, so that the same facts are the same text.
    return dict(sorted({**known, verdict: more}.items()))


def _redacted(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        name: replace(fact, data=redact(fact.data)) if isinstance(fact, Fact) else fact for name, fact in facts.items()
    }


class Gravity(IntEnum):
    """The kinds of bounces that the table of statuses tells apart, the gravest first."""

    SPAM = 1
    HARD = 2
    OTHER = 3
    DEAD_FORWARD = 4
    EXPIRED_UNSURE = 5


def gravity(bounce: Bounced) -> Gravity:
    """What a bounce weighs; a dead forward comes first, because what it says is said of another address."""
    if bounce.forwarded_to is not None:
        return Gravity.DEAD_FORWARD
    if bounce.certainty == "exact" and bounce.bounce_class == "spam":
        return Gravity.SPAM
    if bounce.certainty == "exact" and bounce.bounce_class == "hard":
        return Gravity.HARD
    if bounce.outcome_unknown and bounce.category == "expired":
        return Gravity.EXPIRED_UNSURE
    return Gravity.OTHER
