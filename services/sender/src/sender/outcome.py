"""Decides what an attempt's result means: the event to tell, and what becomes of the delivery; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tracepost.bounces.classify import Cause, Stage, classify, codes
from tracepost.events import Bounced, Data, Deferred, Delivered, Refusal, Rejected

_Fields = dict[str, Any]

_LONGEST_SAID = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """What the remote server answered to the command of `stage`, and over what session; `duration` in seconds."""

    stage: Stage
    code: int
    text: str
    remote: str
    remote_ip: str | None = None
    tls: str | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Unroutable:
    """There is no server to go to, so far as DNS and policies tell; `lasting` if it is so for good."""

    reason: str
    cause: Cause
    lasting: bool


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No session, or one that was lost before the message could have been taken; `met`: there was one.

    `category` and `rule` say why there was none, where it is not the network.
    """

    reason: str
    remote: str
    met: bool = True
    category: str = "network"
    rule: str = "no-session"


@dataclass(frozen=True, slots=True)
class Lost:
    """The session was lost when the server may have taken the message already; `ours` if the sender died of itself."""

    reason: str
    remote: str
    ours: bool = False


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


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Not tried again: a person decided so."""

    by: str
    reason: str


Result = Reply | Unroutable | Unreachable | Lost | Suppressed | Expired | Unsendable | GivenUp


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the decision needs to know of the attempt; `retry_minutes` are the waits after the 1st, 2nd … failure.

    `spread` multiplies the wait, so that what failed together does not come back together; `said` is what the last
    refusal before this one said.
    """

    number: int
    expires_at: datetime
    outcome_unknown: bool
    park_unknown: bool
    retry_minutes: Sequence[float]
    spread: float = 1.0
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The delivery's next state, when it is due if it waits, and the event that tells it.

    `said` is the last refusal's words, for people.
    """

    state: Literal["waiting", "parked", "done"]
    data: Data
    due_at: datetime | None = None
    outcome_unknown: bool = False
    said: str | None = None


def decide(result: Result, attempt: Attempt, now: datetime) -> Outcome:
    """The outcome of one attempt."""
    match result:
        case Suppressed(evidence):
            return Outcome("done", evidence, said=attempt.said)
        case Unsendable() | Expired() | GivenUp():
            return _ended(attempt, result)
        case Unroutable(lasting=True):
            return _bounced(_refusal(result, attempt))
        case Reply(stage="data", code=code) if 200 <= code < 300:
            return Outcome("done", _delivered(result, attempt))
        case Reply(code=code) if 500 <= code < 600:
            return _bounced(_refusal(result, attempt))
        case Reply(stage="data", code=code) if not 400 <= code < 500:
            return _unknown(result, attempt, now)  # no SMTP: the message may have been taken all the same
        case Reply() | Unroutable() | Unreachable():
            return _again(_refusal(result, attempt), attempt, now)
        case Lost():
            return _unknown(result, attempt, now)


def is_final(result: Result) -> bool:
    """Whether the server has decided about the message: that holds whoever has the lease by now."""
    match result:
        case Reply(stage="data", code=code):
            return 200 <= code < 300 or 500 <= code < 600
        case Reply() | Unroutable() | Unreachable() | Lost() | Suppressed() | Expired() | Unsendable() | GivenUp():
            return False


def cause(reply: Reply) -> Cause:
    """What a refusal means; before RCPT it can be about neither the recipient nor the message."""
    found = classify(reply.text, reply.code, codes(reply.text)[1], reply.stage)
    if reply.stage in {"rcpt", "data"}:
        return found
    match found.bounce_class:
        case "hard":  # a relay that "takes no mail" (521) would make every recipient a dead address
            return Cause("soft", "system", "said-before-rcpt")
        case "spam":
            return Cause("soft", "ip_reputation", "said-before-rcpt")
        case "soft" | "undetermined":
            return found


def _unknown(result: Reply | Lost, attempt: Attempt, now: datetime) -> Outcome:
    refusal = _refusal(result, attempt) | {"outcome_unknown": True}
    if attempt.park_unknown:
        return _deferred("parked", Deferred(**refusal, parked=True), unknown=True)
    return _again(refusal, attempt, now, unknown=True)


def _again(refusal: _Fields, attempt: Attempt, now: datetime, *, unknown: bool = False) -> Outcome:
    waits = attempt.retry_minutes
    due = now + timedelta(minutes=waits[min(attempt.number, len(waits)) - 1] * attempt.spread)
    if due > attempt.expires_at:
        return _bounced(refusal | {"category": "expired", "bounce_class": "soft", "rule": "expired"}, unknown=unknown)
    return _deferred("waiting", Deferred(**refusal, next_attempt_at=due), unknown=unknown)


def _deferred(state: Literal["waiting", "parked"], data: Deferred, *, unknown: bool) -> Outcome:
    return Outcome(state, data, data.next_attempt_at, unknown, _said(data))


def _bounced(refusal: _Fields, *, unknown: bool = False) -> Outcome:
    data = Bounced(**refusal)
    return Outcome("done", data, outcome_unknown=unknown, said=_said(data))


def _said(data: Refusal) -> str:
    return f"{data.smtp_code or ''} {data.diagnostic}".strip()[:_LONGEST_SAID]


def _ended(attempt: Attempt, result: Unsendable | Expired | GivenUp) -> Outcome:
    """Ended by us; the last refusal is told too, because it says why this was still not done."""
    match result:
        case Unsendable(reason):
            fields = {"category": "system", "rule": "unsendable"}
        case Expired():
            reason, fields = "the request expired before the next attempt", {"rule": "expired"}
        case GivenUp(by, why):
            reason, fields = f"given up by {by}: {why}", {"rule": "given-up", "origin": "api"}
    told = {
        "attempt": attempt.number,
        "diagnostic": f"{reason}; the last refusal: {attempt.said}" if attempt.said else reason,
        "bounce_class": "soft",
        "category": "expired",
        "origin": "smtp",
        "outcome_unknown": attempt.outcome_unknown,
    }
    return Outcome("done", Bounced(**told | fields), said=attempt.said)


def _delivered(reply: Reply, attempt: Attempt) -> Delivered:
    _, enhanced = codes(reply.text)
    return Delivered(
        attempt=attempt.number,
        smtp_code=reply.code,
        enhanced_code=enhanced,
        response=reply.text,
        remote_mta=reply.remote,
        remote_ip=reply.remote_ip,
        tls=reply.tls,
        duration=reply.duration,
        origin="smtp",
    )


def _refusal(result: Reply | Unroutable | Unreachable | Lost, attempt: Attempt) -> _Fields:
    told = {
        "attempt": attempt.number,
        "remote_mta": None if isinstance(result, Unroutable) else result.remote,
        "origin": "smtp",
        "outcome_unknown": attempt.outcome_unknown,
    }
    match result:
        case Reply(code=code, text=text):
            known = code if 200 <= code <= 599 else None  # what is no SMTP reply has no code
            words = {"smtp_code": known, "enhanced_code": codes(text)[1], "diagnostic": text}
            return told | words | asdict(cause(result))
        case Unroutable(reason, why):
            return told | {"enhanced_code": codes(reason)[1], "diagnostic": reason} | asdict(why)
        case Unreachable(reason, category=category, rule=rule):
            return told | {"diagnostic": reason, "bounce_class": "soft", "category": category, "rule": rule}
        case Lost(reason):
            return told | {"diagnostic": reason, "bounce_class": "soft", "category": "network", "rule": "no-reply"}
