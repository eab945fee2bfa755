"""Decides what an attempt's result means: the event to tell, and what becomes of the delivery; pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tracepost.bounces.classify import Stage, classify, codes
from tracepost.events import Bounced, Data, Deferred, Delivered, Rejected


@dataclass(frozen=True, slots=True)
class Reply:
    """What the remote server answered to the command of `stage`."""

    stage: Stage
    code: int
    text: str
    remote: str
    remote_ip: str | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No session, or one that was lost before the message could have been taken."""

    reason: str
    remote: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The session was lost when the server may have taken the message already."""

    reason: str
    remote: str


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Not tried: the address is on the suppression list."""

    evidence: Rejected


@dataclass(frozen=True, slots=True)
class Expired:
    """Not tried again: the time for attempts is over."""


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Not tried, by a fault of ours: trying again would meet it again."""

    reason: str


Result = Reply | Unreachable | Lost | Suppressed | Expired | Unsendable


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the decision needs to know of the attempt; `retry_minutes` are the waits after the 1st, 2nd … failure."""

    number: int
    expires_at: datetime
    outcome_unknown: bool
    park_unknown: bool
    retry_minutes: Sequence[float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The delivery's next state, when it is due if it is ready, and the event that tells it."""

    state: Literal["ready", "parked", "done"]
    data: Data
    due_at: datetime | None = None
    outcome_unknown: bool = False


def decide(result: Result, attempt: Attempt, now: datetime) -> Outcome:
    """The outcome of one attempt."""
    match result:
        case Suppressed(evidence):
            return Outcome("done", evidence)
        case Unsendable(reason):
            ours = {"bounce_class": "undetermined", "category": "system", "rule": "unsendable"}
            return Outcome("done", Bounced(**_given_up(attempt, reason) | ours))
        case Expired():
            return Outcome("done", Bounced(**_given_up(attempt, "the request expired before the next attempt")))
        case Reply(code=code) if 200 <= code < 300:
            return Outcome("done", _delivered(result, attempt))
        case Reply(code=code) if 500 <= code < 600:
            return Outcome("done", Bounced(**_refusal(result, attempt)))
        case Reply() | Unreachable():
            return _again(_refusal(result, attempt), attempt, now)
        case Lost():
            refusal = _refusal(result, attempt) | {"outcome_unknown": True}
            if attempt.park_unknown:
                return Outcome("parked", Deferred(**refusal, parked=True), outcome_unknown=True)
            return _again(refusal, attempt, now)


def _again(refusal: dict[str, Any], attempt: Attempt, now: datetime) -> Outcome:
    waits = attempt.retry_minutes
    minutes = waits[min(attempt.number, len(waits)) - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
    due = now + timedelta(minutes=minutes)
    unknown = bool(refusal["outcome_unknown"])
    if due > attempt.expires_at:
        return Outcome(
            "done",
            Bounced(**refusal | {"category": "expired", "bounce_class": "soft", "rule": "expired"}),
            outcome_unknown=unknown,
        )
    return Outcome("ready", Deferred(**refusal, next_attempt_at=due), due, unknown)


def _given_up(attempt: Attempt, diagnostic: str) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "diagnostic": diagnostic,
        "bounce_class": "soft",
        "category": "expired",
        "rule": "expired",
        "origin": "smtp",
        "outcome_unknown": attempt.outcome_unknown,
    }


def _delivered(reply: Reply, attempt: Attempt) -> Delivered:
    _, enhanced = codes(reply.text)
    return Delivered(
        attempt=attempt.number,
        smtp_code=reply.code,
        enhanced_code=enhanced,
        response=reply.text,
        remote_mta=reply.remote,
        remote_ip=reply.remote_ip,
        origin="smtp",
    )


def _refusal(result: Reply | Unreachable | Lost, attempt: Attempt) -> dict[str, Any]:
    told = {
        "attempt": attempt.number,
        "remote_mta": result.remote,
        "origin": "smtp",
        "outcome_unknown": attempt.outcome_unknown,
    }
    match result:
        case Reply(stage, code, text):
            _, enhanced = codes(text)
            cause = classify(text, code, enhanced, stage)
            known = code if 200 <= code <= 599 else None  # what is no SMTP reply has no code
            words = {"smtp_code": known, "enhanced_code": enhanced, "diagnostic": text}
            return told | words | {"bounce_class": cause.bounce_class, "category": cause.category, "rule": cause.rule}
        case Unreachable(reason) | Lost(reason):
            return told | {"diagnostic": reason, "bounce_class": "soft", "category": "network", "rule": "no-session"}
