"""The pure fold: what a set of events says about one delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import IntEnum
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
    Verdict,
    Withdrawn,
)

# Raised with every change of what the same events give, so that `refold` finds what older rules folded.
RULES_VERSION = 1

ERASED = "(erased)"
# The fields that name, quote or describe the recipient; a type that is not here has none.
PERSONAL: dict[type[Data], tuple[str, ...]] = {
    Accepted: ("recipient", "subject_line"),
    Deferred: ("diagnostic",),
    Bounced: ("diagnostic", "forwarded_to"),
    Delivered: ("response",),
    Opened: ("client", "ip"),
    Cancelled: ("reason",),
    Withdrawn: ("reason",),
    Erased: ("reason",),
}

Place = tuple[str, Callable[..., Any]]
Body = TypeVar("Body", bound=Data)
Body_co = TypeVar("Body_co", bound=Data, covariant=True)


@dataclass(frozen=True, slots=True)
class Fact(Generic[Body_co]):
    """What one event said, and which event that was."""

    event_id: UUID
    time: datetime
    data: Body_co


@dataclass(frozen=True, slots=True)
class Opens:
    """The opens with one verdict."""

    first: Fact[Opened]
    last: Fact[Opened]
    count: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of one delivery: of each kind of event the one that matters most, and every open counted."""

    accepted: Fact[Accepted] | None = None
    rejected: Fact[Rejected] | None = None
    deferred: Fact[Deferred] | None = None
    delivered: Fact[Delivered] | None = None
    bounced: Fact[Bounced] | None = None
    complained: Fact[Complained] | None = None
    not_spam: Fact[Complained] | None = None
    replied: Fact[Replied] | None = None
    cancelled: Fact[Cancelled] | None = None
    withdrawn: Fact[Withdrawn] | None = None
    erased: Fact[Erased] | None = None
    opens: dict[Verdict, Opens] = field(default_factory=dict)


NOTHING = Delivery()
_stored = TypeAdapter(Delivery)
_NAMES = [each.name for each in fields(Delivery)]


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
    facts: dict[str, Any] = {name: getattr(onto, name) for name in _NAMES}
    for event in _in_turn(events):
        place = _place(event)
        if place and not _withheld(event, facts["withdrawn"]):
            name, joined = place
            facts[name] = joined(facts[name], Fact(event.id, event.time, event.data))
    if facts["erased"]:
        facts = _redacted(facts)
    return Delivery(**facts)


def _in_turn(events: Iterable[AnyEvent]) -> Iterable[AnyEvent]:
    unseen: dict[UUID, AnyEvent] = {}
    for event in events:
        unseen.setdefault(event.id, event)
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


def _place(event: AnyEvent) -> Place | None:
    """Which fact an event may become, and how that is decided between it and the known one."""
    match event.data:
        case Accepted() | Rejected() | Delivered() | Replied() | Cancelled() | Withdrawn() | Erased():
            return event.name, _earliest
        case Deferred():
            return event.name, _latest
        case Bounced():
            return event.name, _gravest
        case Complained(feedback_type=kind):
            return _feedback_place(kind)
        case Opened():
            return "opens", _counted
        case StatusChanged():  # it repeats what a fold said
            return None


def _feedback_place(kind: FeedbackType) -> Place | None:
    match kind:
        case "abuse" | "fraud" | "virus" | "other":
            return "complained", _surest
        case "not-spam":
            return "not_spam", _surest
        case "opt-out":  # a wish about later messages
            return None


def _withheld(event: AnyEvent, withdrawn: Fact[Withdrawn] | None) -> bool:
    return withdrawn is not None and isinstance(event.data, Opened) and event.time > withdrawn.time


def moment(fact: Fact[Data]) -> tuple[datetime, UUID]:
    """Ids part equal times, so that the order of arrival never matters."""
    return fact.time, fact.event_id


def weight(fact: Fact[Complained]) -> tuple[bool, datetime, UUID]:
    """The later feedback outweighs the earlier, but what was placed by hand never what came with a valid token."""
    return fact.data.certainty == "exact", *moment(fact)


def _earliest(known: Fact[Body] | None, new: Fact[Body]) -> Fact[Body]:
    return min(known or new, new, key=moment)


def _latest(known: Fact[Body] | None, new: Fact[Body]) -> Fact[Body]:
    return max(known or new, new, key=moment)


def _gravest(known: Fact[Bounced] | None, new: Fact[Bounced]) -> Fact[Bounced]:
    return min(known or new, new, key=lambda fact: (gravity(fact.data), *moment(fact)))


def _surest(known: Fact[Complained] | None, new: Fact[Complained]) -> Fact[Complained]:
    return max(known or new, new, key=weight)


def _counted(known: dict[Verdict, Opens], new: Fact[Opened]) -> dict[Verdict, Opens]:
    opens = known.get(new.data.verdict, Opens(new, new, 0))
    more = Opens(_earliest(opens.first, new), _latest(opens.last, new), opens.count + 1)
    # In one order, so that the same facts are the same text.
    return dict(sorted({**known, new.data.verdict: more}.items()))


def _redacted(value: Any) -> Any:
    match value:
        case Fact():
            return replace(value, data=redact(value.data))
        case Opens():
            return Opens(_redacted(value.first), _redacted(value.last), value.count)
        case dict():
            return {key: _redacted(each) for key, each in value.items()}
        case None:
            return None


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
