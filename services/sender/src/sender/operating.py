"""Decides what an operator's wish does to deliveries, each by its state; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from tracepost.events import AnyEvent, Bounced, Cancelled, Data, event
from tracepost.problems import Invalid, Problem

State = Literal["ready", "waiting", "leased", "in_doubt", "parked", "done"]
What = Literal["cancel", "retry", "give-up", "pause", "resume"]
Result = Literal["cancelled", "given_up", "ready", "too_late", "done_before", "ready_before", "under_way"]


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that stays as it is until the change is made."""

    message_id: UUID
    recipient_no: int
    app: str
    state: State
    attempt: int
    due_at: datetime
    expires_at: datetime
    outcome_unknown: bool
    traceparent: str | None
    paused: bool  # its destination is, or all are


@dataclass(frozen=True, slots=True)
class Decision:
    """Who wishes what, and why."""

    by: str
    what: What
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a wish comes to for each recipient, the events of those that are done by it, and who is ready by it."""

    results: Mapping[int, Result]
    told: Sequence[AnyEvent] = field(default=())
    ready: Sequence[int] = field(default=())

    @property
    def changed(self) -> list[int]:
        """The recipients for whom anything is different now."""
        return [each.recipient_no for each in self.told] + list(self.ready)


def cancel(held: Iterable[Held], decision: Decision) -> Change:
    """Call off what no server can have yet."""
    data = Cancelled(by=decision.by, reason=decision.reason)
    return _close(held, "cancelled", lambda _: data)


def give_up(held: Iterable[Held], decision: Decision) -> Change:
    """End the attempts, as if the request had expired; Invalid: it is in doubt."""
    change = _close(held, "given_up", lambda each: _given_up(each, decision))
    if "too_late" in change.results.values():
        raise in_doubt()
    return change


def retry(held: Held, now: datetime) -> Change:
    """Send now what waits or is parked; Invalid says why it cannot be."""
    number = held.recipient_no
    match held.state:
        case "in_doubt":
            raise in_doubt()
        case "done":
            detail = "nothing more is sent of it; send a new message"
            raise Invalid(Problem(code="done", title="The delivery is done", status=409, detail=detail))
        case "ready":
            return Change({number: "ready_before"})
        case "leased":
            return Change({number: "under_way"})
        case "waiting" | "parked":
            if held.expires_at <= now:
                raise _expired(held)
            return Change({number: "ready"}, ready=(number,))


def in_doubt() -> Invalid:
    """The message is with the remote server, which has not answered: nobody can say whether it took it."""
    detail = "the remote server may be taking it this moment; look at it again when its due_at has passed"
    return Invalid(Problem(code="in-doubt", title="The outcome is not known yet", status=409, detail=detail))


def _expired(held: Held) -> Invalid:
    detail = f"its time was over at {held.expires_at:%Y-%m-%dT%H:%M:%SZ}; give it up, and send a new message"
    return Invalid(Problem(code="expired", title="The delivery has expired", status=409, detail=detail))


def _close(held: Iterable[Held], result: Result, tell: Callable[[Held], Data]) -> Change:
    results: dict[int, Result] = {}
    told = []
    for each in held:
        match each.state:
            case "ready" | "waiting" | "leased" | "parked":
                results[each.recipient_no] = result
                told.append(
                    event("sender", each.message_id, each.recipient_no, tell(each), traceparent=each.traceparent)
                )
            case "in_doubt":
                results[each.recipient_no] = "too_late"
            case "done":
                results[each.recipient_no] = "done_before"
    return Change(results, told)


def _given_up(held: Held, decision: Decision) -> Bounced:
    return Bounced(
        attempt=held.attempt,
        diagnostic=f"given up by {decision.by}: {decision.reason}",
        bounce_class="soft",
        category="expired",
        rule="given-up",
        origin="api",
        outcome_unknown=held.outcome_unknown,
    )
