"""Why a delivery has its status: the event that decided, and what became of every other one; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from status_store.fold import NOTHING, Delivery, Fact, Mark, fold, gravity, moment, redact
from status_store.standing import Denial, Row, Status, denied, holding, status
from tracepost.events import (
    AnyEvent,
    BounceClass,
    Bounced,
    Certainty,
    Complained,
    Data,
    Deferred,
    Delivered,
    Erased,
    Opened,
    Refusal,
    StatusChanged,
    Verdict,
    Withdrawn,
)

Effect = Literal[
    Denial,  # it asks for a status, and another event denies it
    "outranked",  # its row stands below that of the status
    "agrees",  # its row is that of the status, for which another event is named
    "only_receipt",  # feedback that is no certain complaint
    "no_reader",  # an open that proves no reader
    "repeated",  # an earlier one of its kind counts
    "superseded",  # a later one of its kind counts
    "simultaneous",  # one of its kind and time counts, by their ids
    "less_grave",  # a graver bounce counts
    "less_sure",  # feedback that is certain counts
    "withheld",  # an open after the withdrawal
    "other_mail",  # it says nothing of this message
    "no_outcome",  # no row asks for its type
]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The event that decided: the remote server's own words, what was made of them, and by which rule."""

    event_id: UUID
    name: str
    time: datetime
    origin: str | None = None
    smtp_code: int | None = None
    enhanced_code: str | None = None
    remote_mta: str | None = None
    text: str | None = None
    rule: str | None = None
    bounce_class: BounceClass | None = None
    category: str | None = None
    certainty: Certainty | None = None


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A row of the table that holds too, and the event for which it does."""

    status: Status
    shown_as: str
    rule: str
    event_id: UUID
    name: str
    time: datetime
    sentence: str


@dataclass(frozen=True, slots=True)
class Other:
    """An event that did not decide: why in words, and the event that it lost to."""

    event_id: UUID
    name: str
    time: datetime
    effect: Effect
    sentence: str
    lost_to: UUID | None


@dataclass(frozen=True, slots=True)
class Why:
    """A status and its reasons; `others` are in the order of their times, and of their ids where these are equal."""

    status: Status
    shown_as: str
    rule: str
    cause: str | None
    notes: tuple[str, ...]
    deciding: Evidence | None
    runners_up: tuple[RunnerUp, ...]
    others: tuple[Other, ...]


class _Loss(NamedTuple):
    effect: Effect
    sentence: str
    to: UUID | None = None


class _Case(NamedTuple):
    known: Delivery
    places: dict[str, Mark]
    rows: list[tuple[Row, Mark]]
    denied: dict[UUID, tuple[Denial, Mark]]
    events: dict[UUID, AnyEvent]


def explain(events: Iterable[AnyEvent]) -> Why:
    """Explain the status that all events of one delivery give it; they may come in any order, and more than once."""
    unique = {event.id: event for event in reversed([*events])}
    known = fold(unique.values())
    told, rows = status(known), holding(known)
    case = _Case(known, _places(known), rows, denied(known), unique)
    others = [event for event in unique.values() if event.id != told.event_id]
    return Why(
        status=told.status,
        shown_as=told.shown_as,
        rule=told.rule,
        cause=told.cause,
        notes=told.notes,
        deciding=_evidence(unique[rows[0][1].event_id], bool(known.erased)) if rows else None,
        runners_up=tuple(_runner_up(row, fact, unique) for row, fact in rows[1:]),
        others=tuple(_other(event, case) for event in sorted(others, key=_order)),
    )


def _order(event: AnyEvent) -> tuple[datetime, UUID]:
    return moment(Mark(event.id, event.time))


def _evidence(event: AnyEvent, erased: bool) -> Evidence:
    told = Evidence(event.id, event.name, event.time)
    match redact(event.data) if erased else event.data:
        case Bounced(certainty=certainty) as data:
            return replace(_refused(told, data), certainty=certainty)
        case Deferred() as data:
            return _refused(told, data)
        case Delivered() as data:
            return replace(_answered(told, data), text=data.response or None)
        case Complained(origin=origin, certainty=certainty):
            return replace(told, origin=origin, certainty=certainty)
        case Opened(rule=rule):
            return replace(told, rule=rule)
    return told


def _answered(told: Evidence, data: Refusal | Delivered) -> Evidence:
    return replace(
        told,
        origin=data.origin,
        smtp_code=data.smtp_code,
        enhanced_code=data.enhanced_code,
        remote_mta=data.remote_mta,
    )


def _refused(told: Evidence, data: Refusal) -> Evidence:
    return replace(
        _answered(told, data),
        text=data.diagnostic or None,
        rule=data.rule,
        bounce_class=data.bounce_class,
        category=data.category,
    )


def _runner_up(row: Row, fact: Mark, events: Mapping[UUID, AnyEvent]) -> RunnerUp:
    sentence = f"{row.shown_as}: {row.rule}; outranked"
    name = events[fact.event_id].name
    return RunnerUp(row.status, row.shown_as, row.rule, fact.event_id, name, fact.time, sentence)


def _other(event: AnyEvent, case: _Case) -> Other:
    effect, sentence, lost_to = _loss(event, case)
    return Other(event.id, event.name, event.time, effect, sentence, lost_to)


def _loss(event: AnyEvent, case: _Case) -> _Loss:
    data = event.data
    if isinstance(data, Withdrawn | Erased | StatusChanged):
        return _Loss("no_outcome", _NO_OUTCOME[type(data)])
    alone = fold([event])
    if alone == NOTHING:
        return _Loss("other_mail", "it is a wish about later mail, and says nothing of this message")
    return (
        _withheld(event, alone, case)
        or _beaten(event, alone, case)
        or _denied(event, case)
        or _behind(event, data, status(alone).status, case)
    )


_NO_OUTCOME: dict[type[Withdrawn | Erased | StatusChanged], str] = {
    Withdrawn: "it only says which opens count",
    Erased: "it only takes personal data away",
    StatusChanged: "it repeats what the events came to",
}


def _withheld(event: AnyEvent, alone: Delivery, case: _Case) -> _Loss | None:
    withdrawn = case.known.withdrawn
    if withdrawn and alone.opens != fold([event, case.events[withdrawn.event_id]]).opens:
        return _Loss("withheld", "opened after open tracking was withdrawn: it does not count", withdrawn.event_id)
    return None


def _beaten(event: AnyEvent, alone: Delivery, case: _Case) -> _Loss | None:
    for place, own in _places(alone).items():
        if case.places[place].event_id != event.id:
            return _compared(own, case.places[place])
    return None


def _places(known: Delivery) -> dict[str, Mark]:
    """The facts, each by the place for which events compete; opens have one for each verdict."""
    values = {each.name: getattr(known, each.name) for each in fields(known)}
    opens = {f"opens: {verdict}": opens.first for verdict, opens in known.opens.items()}
    return {place: value for place, value in values.items() if isinstance(value, Mark)} | opens


def _compared(own: Mark, winner: Mark) -> _Loss:
    match own, winner:
        case Fact(data=Bounced() as mine), Fact(data=Bounced() as theirs) if gravity(mine) != gravity(theirs):
            return _Loss("less_grave", "a graver bounce counts", winner.event_id)
        case Fact(data=Complained() as mine), Fact(data=Complained() as theirs) if mine.certainty != theirs.certainty:
            return _Loss("less_sure", "placed by hand: what came with a valid token counts more", winner.event_id)
    if own.time == winner.time:
        return _Loss("simultaneous", "it repeats one of the same time; their ids say which counts", winner.event_id)
    if moment(winner) < moment(own):
        return _Loss("repeated", "it repeats one of its kind: the earlier counts", winner.event_id)
    return _Loss("superseded", "one of its kind follows: the later counts", winner.event_id)


def _denied(event: AnyEvent, case: _Case) -> _Loss | None:
    if event.id not in case.denied:
        return None
    denial, against = case.denied[event.id]
    return _Loss(denial, f"{_which(against, event, case)} {_DENIALS[denial]}", against.event_id)


_DENIALS: dict[Denial, str] = {
    "was_received": "shows that the message was received",
    "was_read": "shows that the message was read",
    "taken_back": "takes it back",
}


def _behind(event: AnyEvent, data: Data, asked: Status, case: _Case) -> _Loss:
    # There is a first row: at least the one that this event makes hold, since it is a fact that nothing denies.
    row, winner = case.rows[0]
    if isinstance(data, Opened) and asked == "delivered":
        sentence = f"opened by {_OPENERS[data.verdict]}: it shows receipt, and no reader"
        return _Loss("no_reader", sentence, winner.event_id)
    if isinstance(data, Complained):  # a certain complaint that nothing denies would have decided
        return _Loss("only_receipt", _feedback(data), winner.event_id)
    if asked == row.status:
        return _Loss("agrees", f"{_which(winner, event, case)} says the same, and is named", winner.event_id)
    return _Loss("outranked", f"{_which(winner, event, case)} outranks it", winner.event_id)


_OPENERS: dict[Verdict, str] = {
    "person": "a person",
    "proxied": "a person through an image proxy",
    "prefetched": "a privacy proxy",
    "bot": "a program",
    "unknown": "an unknown client",
}


def _feedback(data: Complained) -> str:
    if data.certainty == "candidate":
        return "placed by hand: it only shows receipt"
    return "of itself it only shows receipt"


def _which(winner: Mark, event: AnyEvent, case: _Case) -> str:
    noun = _noun(case.events[winner.event_id])
    if winner.time == event.time:
        return f"a simultaneous {noun}"
    return f"{'a later' if winner.time > event.time else 'an earlier'} {noun}"


def _noun(event: AnyEvent) -> str:
    match event.data:
        case Opened(verdict=verdict):
            return f"open by {_OPENERS[verdict]}"
        case Complained(feedback_type="not-spam"):
            return "not-spam report"
    return _NOUNS[event.name]


_NOUNS = {
    "accepted": "acceptance",
    "rejected": "rejection",
    "deferred": "deferral",
    "delivered": "delivery",
    "bounced": "bounce",
    "complained": "complaint",
    "replied": "answer",
    "cancelled": "cancellation",
}
