"""Strategies that generate the events of one delivery, of every kind that the models admit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import get_args
from uuid import UUID

from hypothesis import strategies as st

from tracepost.events import (
    Accepted,
    AnyEvent,
    BounceClass,
    Bounced,
    Cancelled,
    Certainty,
    Complained,
    Data,
    Deferred,
    Delivered,
    Erased,
    FeedbackType,
    Opened,
    Rejected,
    RejectionReason,
    Replied,
    StatusChanged,
    Tracking,
    Verdict,
    Withdrawn,
    event,
)

MESSAGE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PERSONAL = "alice"
"""Stands in every generated field that must not survive erasure, and in no other."""

_words = st.sampled_from(("x", "", "\0", "Grüße 🙂", 'quoted "\\"', "\u2028\x7f"))
_personal = st.sampled_from((f"550 5.1.1 <{PERSONAL}@example.org>", PERSONAL, ""))
_perhaps_personal = st.none() | _personal
_categories = st.sampled_from(("mailbox_full", "expired"))
_moments = st.datetimes(timezones=st.just(UTC))


def _bounced(bounce_class: BounceClass, certainty: Certainty = "exact") -> st.SearchStrategy[Data]:
    bounced = partial(Bounced, bounce_class=bounce_class, certainty=certainty, origin="webhook:some-provider")
    return st.builds(bounced, category=_categories, outcome_unknown=st.booleans(), diagnostic=_personal)


def _forward(bounce_class: BounceClass, certainty: Certainty) -> st.SearchStrategy[Data]:
    forward = partial(Bounced, bounce_class=bounce_class, certainty=certainty, origin="dsn")
    return st.builds(forward, category=_categories, outcome_unknown=st.booleans(), forwarded_to=_personal)


def _deferred(**more: bool) -> st.SearchStrategy[Data]:
    deferred = partial(Deferred, bounce_class="soft", category="greylisted", smtp_code=451, origin="smtp", **more)
    return st.builds(deferred, diagnostic=_personal, remote_mta=_words)


def _feedback(*kinds: FeedbackType, certainty: Certainty = "exact") -> st.SearchStrategy[Data]:
    return st.builds(partial(Complained, certainty=certainty, origin="arf"), feedback_type=st.sampled_from(kinds))


def _opened(verdict: Verdict) -> st.SearchStrategy[Data]:
    return st.builds(partial(Opened, verdict=verdict, rule="some-rule"), client=_perhaps_personal, ip=_perhaps_personal)


_ACCEPTED = partial(
    Accepted, recipient_count=2, rfc_message_id="<1@example.com>", app="helpdesk", has_html=True, size=9
)

KINDS: dict[str, st.SearchStrategy[Data]] = {
    "accepted": st.builds(
        _ACCEPTED,
        recipient=_personal,
        sender=_words,
        subject_line=_personal,
        reference=st.none() | _words,
        tags=st.lists(_words, max_size=2).map(tuple),
        metadata=st.dictionaries(_words, _words, max_size=2),
        track_opens=st.sampled_from(get_args(Tracking)),
    ),
    "rejected": st.builds(
        Rejected,
        reason=st.sampled_from(get_args(RejectionReason)),
        since=_moments,
        evidence_event=st.none() | st.uuids(),
    ),
    "deferred": _deferred(),
    "deferred, outcome unknown": _deferred(outcome_unknown=True),
    "parked": _deferred(parked=True),
    "parked, outcome unknown": _deferred(parked=True, outcome_unknown=True),
    "delivered": st.builds(
        partial(Delivered, remote_ip="2001:db8::1", origin="smtp"),
        response=_personal,
        duration=st.none() | st.floats(0, allow_infinity=False),
    ),
    "bounced: spam": _bounced("spam"),
    "bounced: spam, candidate": _bounced("spam", "candidate"),
    "bounced: hard": _bounced("hard"),
    "bounced: hard, candidate": _bounced("hard", "candidate"),
    "bounced: soft": _bounced("soft"),
    "bounced: undetermined": _bounced("undetermined", "candidate"),
    "bounced: expired, outcome unknown": st.builds(
        partial(Bounced, bounce_class="soft", category="expired", outcome_unknown=True, origin="smtp"),
        diagnostic=_personal,
    ),
    "bounced: dead forward": _forward("soft", "candidate"),
    "bounced: dead forward that claims spam": _forward("spam", "exact"),
    "bounced: dead forward that claims hard": _forward("hard", "exact"),
    "feedback: complaint": _feedback("abuse", "fraud", "virus", "other"),
    "feedback: complaint, candidate": _feedback("abuse", certainty="candidate"),
    "feedback: not-spam": _feedback("not-spam"),
    "feedback: not-spam, candidate": _feedback("not-spam", certainty="candidate"),
    "feedback: opt-out": _feedback("opt-out"),
    **{f"opened: {verdict}": _opened(verdict) for verdict in get_args(Verdict)},
    "replied": st.builds(Replied),
    "cancelled": st.builds(Cancelled, by=_words, reason=_perhaps_personal),
    "withdrawn": st.builds(Withdrawn, by=_words, reason=_perhaps_personal),
    "erased": st.builds(Erased, by=_words, reason=_perhaps_personal, address_key=st.just("4f2a")),
    "status-changed": st.builds(StatusChanged, status=_words, version=st.integers(0)),
}


def _those(*beginnings: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(beginnings)]


# Kinds that can make a row of the table hold, by the row's status.
MAKING: dict[str, list[str]] = {
    "spam": ["bounced: spam", "feedback: complaint"],
    "hard_bounce": ["bounced: hard"],
    "rejected": ["rejected"],
    "failed": [
        "bounced: soft",
        "bounced: hard, candidate",
        "bounced: expired, outcome unknown",
        "bounced: dead forward",
    ],
    "cancelled": ["cancelled"],
    "read": ["replied", "opened: person", "opened: proxied"],
    "delivered": ["delivered", "feedback: not-spam", *_those("opened")],
    "unknown": ["parked, outcome unknown"],
    "deferred": _those("deferred", "parked"),
    "queued": ["accepted"],
}
# Kinds that act on each other, and those that show no receipt.
GROUPS: list[list[str]] = [
    list(KINDS),
    _those("bounced"),
    _those("feedback"),
    _those("opened", "withdrawn"),
    _those("deferred", "parked"),
    [kind for kind in KINDS if kind not in _those("delivered", "feedback", "opened", "replied")],
]

_FOR_A_ROW = st.one_of([st.sampled_from(kinds) for kinds in MAKING.values()])
_FURTHER = st.one_of([st.lists(st.sampled_from(kinds), max_size=4) for kinds in GROUPS])
_ARRIVING = st.tuples(st.lists(_FOR_A_ROW, max_size=3), _FURTHER).flatmap(
    lambda parts: st.permutations(parts[0] + parts[1])
)
_IDS = st.uuids()
# Mostly few different times, so that equal ones are common; now and then any that there is.
_TIMES = st.sampled_from([START + timedelta(minutes=n) for n in range(4)]) | _moments


def about(data: Data, *, id: UUID | None = None, time: datetime | None = None) -> AnyEvent:  # noqa: A002 - as in event()
    """An event of the one delivery that the tests are about."""
    return event("test", MESSAGE, 0, data, id=id, time=time)


@st.composite
def histories(draw: st.DrawFn) -> list[AnyEvent]:
    """The different events of one delivery, in the order of their arrival.

    Each starts from rows that are to hold, and adds kinds that act on each other. From kinds alone, two rare ones
    would hardly ever come together, and some sign of receipt would stand in nearly every longer history.
    """
    events = [about(draw(KINDS[kind]), id=draw(_IDS), time=draw(_TIMES)) for kind in draw(_ARRIVING)]
    return list({each.id: each for each in events}.values())
