"""Decides, from all that was learnt and decided about an address, whether it may be written to; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Literal
from uuid import UUID

from tracepost.bounces.classify import classify
from tracepost.events import Bounced, Complained, Data, RejectionReason

Kind = Literal["hard_bounce", "soft_bounce", "complaint", "opt_out", "not_spam", "delivered", "added", "lifted"]

# How long each reason holds: the first time, the second, …, the last for all that follow; nothing means for ever.
TERMS: Mapping[RejectionReason, tuple[timedelta, ...]] = {
    "hard_bounce": tuple(timedelta(days) for days in (30, 90, 180, 365)),
    "soft_bounces": (timedelta(7),),
    "spam_complaint": (),
    "unsubscribed": (),
}

# What says that the mailbox cannot take mail now; all else that is soft blames us, the message or the servers.
OF_THE_MAILBOX = frozenset({"mailbox_full", "mailbox_disabled", "quota"})

# So many messages failed softly, over so long, within this, and none was delivered meanwhile: the address may rest.
SOFT_MESSAGES, SOFT_SPAN, SOFT_WINDOW = 3, timedelta(3), timedelta(30)

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing learnt (from an event, whose id this is) or decided (by a client) about an address.

    `app` None means every app. `reason` and `until` are those of what is `added`.
    """

    id: UUID
    kind: Kind
    at: datetime
    app: str | None = None
    message_id: UUID | None = None
    recipient_no: int | None = None
    reason: RejectionReason | None = None
    until: datetime | None = None
    words: str | None = None
    by: str | None = None
    why: str | None = None
    learnt_at: datetime | None = field(default=None, compare=False)

    @property
    def delivery(self) -> tuple[UUID | None, int | None]:
        """What it is about."""
        return self.message_id, self.recipient_no


@dataclass(frozen=True, slots=True)
class Entry:
    """Why an app (None: none) does not write to an address, until when (None: for ever), and what took that back."""

    app: str | None
    reason: RejectionReason
    since: datetime
    until: datetime | None
    evidence: Evidence
    lift: Evidence | None = None

    def holds(self, now: datetime) -> bool:
        """Whether mail is rejected for it."""
        return self.lift is None and (self.until is None or self.until > now)


def kind(data: Data) -> Kind | None:
    """What an event teaches about its recipient's address; None: nothing."""
    match data:
        case Bounced(certainty="exact", forwarded_to=None, bounce_class="hard"):
            return "hard_bounce"
        case Bounced(certainty="exact", forwarded_to=None, bounce_class="soft"):
            return "soft_bounce" if _cause(data) in OF_THE_MAILBOX else None
        case Complained(certainty="exact", feedback_type="abuse" | "fraud" | "virus" | "other"):
            return "complaint"
        case Complained(certainty="exact", feedback_type="opt-out"):
            return "opt_out"
        case Complained(certainty="exact", feedback_type="not-spam"):
            return "not_spam"
        case _:
            return None


def scope(learnt: Kind, app: str) -> str | None:
    """For whose mail it holds: who does not want that of one app may want that of another; all else holds for all."""
    return app if learnt == "opt_out" else None


def _cause(data: Bounced) -> str:
    # What was given up is told as expired, with the words of the last refusal: they say why it could not be delivered.
    # A person who gave it up has other words.
    if data.category != "expired" or data.origin == "api":
        return data.category
    return classify(data.diagnostic, data.smtp_code, data.enhanced_code).category


def entries(evidence: Iterable[Evidence]) -> list[Entry]:
    """For each scope and reason the newest entry; a function of the set alone, whatever came first or twice.

    What is not newer than a lift does not count after it, not even as the first of several.
    """
    # Of what is of one time the lift is the later.
    known = sorted(evidence, key=lambda each: (each.at, each.kind == "lifted", each.id))
    returned = {each.delivery for each in known if each.kind in ("hard_bounce", "soft_bounce")}
    # That a server took a message which came back later was no success.
    known = [each for each in known if each.kind != "delivered" or each.delivery not in returned]
    found: dict[tuple[str | None, RejectionReason], Entry] = {}
    for app in dict.fromkeys(each.app for each in known):
        for part, lift in _between_lifts(known, app):
            for entry in _entries([each for each in part if each.app == app]):
                found[app, entry.reason] = _lifted(entry, lift)
    return sorted(found.values(), key=lambda entry: (entry.app or "", entry.reason))


def _between_lifts(known: Sequence[Evidence], app: str | None) -> Iterator[tuple[Sequence[Evidence], Evidence | None]]:
    part: list[Evidence] = []
    for each in known:
        if each.kind == "lifted" and each.app in (None, app):
            yield part, each
            part = []
        else:
            part.append(each)
    yield part, None


def _lifted(entry: Entry, lift: Evidence | None) -> Entry:
    if lift is None or entry.lift is not None:
        return entry
    return Entry(entry.app, entry.reason, entry.since, entry.until, entry.evidence, lift)


def _entries(part: Sequence[Evidence]) -> list[Entry]:
    """Of one scope, between two lifts; of what was learnt and what was added for one reason, what lasts longer."""
    added = {each.reason: each for each in part if each.kind == "added" and each.reason}  # the newest
    learnt: dict[RejectionReason, Sequence[Evidence]] = {
        "hard_bounce": [each for each in part if each.kind == "hard_bounce"],
        "soft_bounces": list(_soft(part)),
        "unsubscribed": [each for each in part if each.kind == "opt_out"],
    }
    candidates = chain(
        (_last_term(reason, proofs) for reason, proofs in learnt.items() if proofs),
        _complaints(part),
        (Entry(each.app, reason, each.at, each.until, each) for reason, each in added.items()),
    )
    longest: dict[RejectionReason, Entry] = {}
    for entry in candidates:
        longest[entry.reason] = max(longest.get(entry.reason, entry), entry, key=_end)
    return list(longest.values())


def _end(entry: Entry) -> tuple[bool, datetime]:
    return entry.lift is None, entry.until or _NEVER


def _last_term(reason: RejectionReason, proofs: Sequence[Evidence]) -> Entry:
    """What comes while a term runs adds nothing; what comes after it begins the next, which is longer."""
    terms, number = TERMS[reason], 0
    entry = _term(reason, proofs[0], terms, number)
    for each in proofs[1:]:
        if entry.until is not None and each.at >= entry.until:
            number += 1
            entry = _term(reason, each, terms, number)
    return entry


def _term(reason: RejectionReason, proof: Evidence, terms: Sequence[timedelta], number: int) -> Entry:
    until = None
    with suppress(OverflowError):  # a clock that is wrong by millennia
        until = proof.at + terms[min(number, len(terms) - 1)] if terms else None
    return Entry(proof.app, reason, proof.at, until, proof)


def _complaints(part: Sequence[Evidence]) -> list[Entry]:
    complaints = [each for each in part if each.kind == "complaint"]
    undone = {each.delivery: each for each in part if each.kind == "not_spam"}  # the latest
    standing = [each for each in complaints if not _undoes(undone.get(each.delivery), each)]
    if standing or not complaints:
        return [_last_term("spam_complaint", standing)] if standing else []
    last = complaints[-1]
    return [_lifted(_last_term("spam_complaint", [last]), undone[last.delivery])]


def _undoes(not_spam: Evidence | None, complaint: Evidence) -> bool:
    return not_spam is not None and not_spam.at >= complaint.at


def _soft(part: Sequence[Evidence]) -> Iterator[Evidence]:
    """The failures that were one too many; of each message the first counts."""
    seen: set[UUID | None] = set()
    run: deque[Evidence] = deque()
    for each in part:
        if each.kind == "delivered":
            run.clear()
        elif each.kind == "soft_bounce" and each.message_id not in seen:
            seen.add(each.message_id)
            run.append(each)
            while each.at - run[0].at > SOFT_WINDOW:
                run.popleft()
            if len(run) >= SOFT_MESSAGES and each.at - run[0].at >= SOFT_SPAN:
                yield each
