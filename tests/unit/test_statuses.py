"""The rows of the table of statuses and the roll-up of a message, by real cases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial, reduce
from itertools import permutations
from random import Random
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from status_store import fold as subject
from status_store import standing as table
from status_store.fold import ERASED, NOTHING, Acceptance, Delivery
from status_store.fold import PERSONAL as PERSONAL_FIELDS
from status_store.rollup import ISSUES, SHOWN_AS, rollup
from status_store.standing import Standing, Status
from tests.unit.histories import START, about
from tests.unit.test_fold_laws import ROWS
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
    Replied,
    Verdict,
    Withdrawn,
)

# The rows of the table, by real cases.


def bounced(bounce_class: BounceClass = "soft", category: str = "mailbox_full", **more: Any) -> Bounced:
    return Bounced(bounce_class=bounce_class, category=category, origin="dsn", **more)


def deferred(category: str = "greylisted", **more: Any) -> Deferred:
    return Deferred(bounce_class="soft", category=category, origin="smtp", **more)


def feedback(feedback_type: FeedbackType, certainty: Certainty = "exact") -> Complained:
    return Complained(feedback_type=feedback_type, certainty=certainty, origin="arf")


def opened(verdict: Verdict) -> Opened:
    return Opened(verdict=verdict, rule="some-rule")


ACCEPTED = Accepted(
    recipient="alice@example.org",
    recipient_count=1,
    sender="support@example.com",
    subject_line="Your ticket",
    rfc_message_id="<1@example.com>",
    app="helpdesk",
    track_opens="full",
    has_html=True,
    size=1000,
)
DELIVERED = Delivered(response="250 2.0.0 ok", origin="smtp")
REJECTED = Rejected(reason="spam_complaint", since=START)
CANCELLED = Cancelled(by="an agent", reason="wrong customer")
WITHDRAWN = Withdrawn(by="alice")
UNSURE = deferred("network", parked=True, outcome_unknown=True)
EXPIRED_UNSURE = bounced(category="expired", outcome_unknown=True)


def events_of(*happened: Data) -> list[AnyEvent]:
    """These, a minute apart, numbered from 0."""
    return [about(data, id=UUID(int=n), time=START + timedelta(minutes=n)) for n, data in enumerate(happened)]


def delivery_of(*happened: Data) -> Delivery:
    """What these come to; whatever the order in which they arrive."""
    events = events_of(*happened)
    known = subject.fold(events)
    for arriving in permutations(events):
        assert reduce(partial(recorded, arriving), range(len(events)), NOTHING) == known
    return known


def recorded(arriving: Sequence[AnyEvent], known: Delivery, n: int) -> Delivery:
    """What the store does when the event arrives."""
    whole = subject.needs_history(known, [arriving[n]])
    return subject.fold(arriving[: n + 1]) if whole else subject.fold([arriving[n]], known)


def standing(*happened: Data) -> Standing:
    return table.status(delivery_of(*happened))


def test_nothing_known_yet() -> None:
    assert standing() == Standing("queued", "Sending", "accepted, or nothing known yet")


def test_accepted_is_sending() -> None:
    assert standing(ACCEPTED).status == "queued"
    assert standing(ACCEPTED).event_id == UUID(int=0)


def test_greylisted_is_sending_delayed() -> None:
    told = standing(ACCEPTED, deferred(diagnostic="451 4.7.1 come back later"))
    assert (told.status, told.shown_as) == ("deferred", "Sending (delayed)")
    assert told.cause == "greylisted: 451 4.7.1 come back later"


def test_unknown_outcome_parked() -> None:
    assert standing(ACCEPTED, UNSURE).shown_as == "Sent, outcome unknown"
    assert standing(ACCEPTED, UNSURE, deferred()).status == "deferred"
    assert standing(ACCEPTED, deferred(outcome_unknown=True)).status == "deferred"
    assert standing(ACCEPTED, deferred(parked=True)).status == "deferred"


def test_an_unknown_outcome_settled_later_by_a_dsn() -> None:
    told = standing(ACCEPTED, UNSURE, Delivered(origin="dsn"))
    assert (told.status, told.event_id) == ("delivered", UUID(int=2))
    told = standing(ACCEPTED, UNSURE, bounced("hard", "invalid_recipient"))
    assert (told.status, told.event_id) == ("hard_bounce", UUID(int=2))


def test_an_unknown_outcome_settled_later_by_an_open() -> None:
    assert standing(ACCEPTED, UNSURE, opened("prefetched")).status == "delivered"
    told = standing(ACCEPTED, UNSURE, opened("person"))
    assert (told.status, told.event_id) == ("read", UUID(int=2))


def test_an_unknown_outcome_settled_later_by_a_reply() -> None:
    told = standing(ACCEPTED, UNSURE, Replied())
    assert (told.status, told.event_id) == ("read", UUID(int=2))


def test_an_unknown_outcome_settled_later_by_expiry() -> None:
    told = standing(ACCEPTED, UNSURE, EXPIRED_UNSURE)
    assert (told.status, told.event_id, told.cause) == ("failed", UUID(int=2), "expired")
    assert standing(ACCEPTED, UNSURE, EXPIRED_UNSURE, DELIVERED).status == "delivered"


def test_delivered() -> None:
    told = standing(ACCEPTED, deferred(), DELIVERED)
    assert (told.status, told.event_id, told.cause) == ("delivered", UUID(int=2), None)


def test_opened_before_delivered_arrives() -> None:
    assert standing(opened("person")).status == "read"
    assert standing(opened("bot"), ACCEPTED).status == "delivered"
    told = standing(ACCEPTED, opened("proxied"), DELIVERED)
    assert (told.status, told.event_id) == ("read", UUID(int=1))


def test_privacy_proxy_only_is_delivered() -> None:
    told = standing(ACCEPTED, DELIVERED, opened("prefetched"), opened("bot"), opened("unknown"))
    assert (told.status, told.notes) == ("delivered", ("opened by a privacy proxy",))


def test_tracking_off_leaves_a_reply_to_prove_read() -> None:
    untracked = ACCEPTED.model_copy(update={"track_opens": "off"})
    assert standing(untracked, DELIVERED).status == "delivered"
    told = standing(untracked, DELIVERED, Replied())
    assert (told.status, told.event_id) == ("read", UUID(int=2))


def test_returned_after_delivered() -> None:
    returned = bounced("hard", "invalid_recipient", diagnostic="550 5.1.1 no such user")
    told = standing(ACCEPTED, DELIVERED, returned)
    assert (told.status, told.event_id) == ("hard_bounce", UUID(int=2))
    assert told.cause == "invalid recipient: 550 5.1.1 no such user"
    known = delivery_of(ACCEPTED, DELIVERED, returned)
    assert known.delivered
    assert known.bounced
    assert known.bounced.time - known.delivered.time == timedelta(minutes=1)


def test_refused_as_spam() -> None:
    assert standing(ACCEPTED, bounced("spam", "spam_content")).shown_as == "Delivery issue: spam"
    assert standing(ACCEPTED, bounced("hard"), bounced("spam"), bounced()).event_id == UUID(int=2)
    assert standing(ACCEPTED, bounced("spam"), feedback("abuse")).cause == "reported as abuse"


def test_a_bounce_placed_by_hand_is_a_plain_failure() -> None:
    assert standing(ACCEPTED, bounced("hard", certainty="candidate")).status == "failed"
    assert standing(ACCEPTED, bounced("spam", certainty="candidate")).status == "failed"


def test_complaint_then_not_spam() -> None:
    told = standing(ACCEPTED, feedback("abuse"), feedback("not-spam"))
    assert (told.status, told.cause) == ("delivered", None)
    assert told.notes == ("reported as spam, and taken back",)


def test_not_spam_then_complaint() -> None:
    told = standing(ACCEPTED, feedback("not-spam"), feedback("fraud"))
    assert (told.status, told.cause, told.event_id) == ("spam", "reported as fraud", UUID(int=2))


def test_complaint_and_not_spam_at_the_same_time() -> None:
    for complaint_id, status in ((1, "delivered"), (3, "spam")):
        complaint, undone = (
            about(feedback("abuse"), id=UUID(int=complaint_id), time=START),
            about(feedback("not-spam"), id=UUID(int=2), time=START),
        )
        assert table.status(subject.fold([complaint, undone])).status == status
        assert table.status(subject.fold([undone, complaint])).status == status


def test_feedback_placed_by_hand_is_a_sign_of_receipt_and_no_more() -> None:
    assert standing(ACCEPTED, feedback("abuse", "candidate")).status == "delivered"
    assert standing(ACCEPTED, feedback("abuse"), feedback("not-spam", "candidate")).status == "spam"
    assert (
        standing(ACCEPTED, feedback("abuse"), feedback("not-spam"), feedback("abuse", "candidate")).status
        == "delivered"
    )
    assert standing(ACCEPTED, feedback("abuse"), feedback("abuse", "candidate")).status == "spam"


def test_opt_out_says_nothing() -> None:
    assert delivery_of(feedback("opt-out")) == NOTHING


def test_rejected() -> None:
    told = standing(ACCEPTED, REJECTED)
    assert (told.shown_as, told.cause) == ("Delivery issue: rejected", "suppressed: spam complaint")
    assert standing(ACCEPTED, REJECTED, opened("unknown")).status == "delivered"


def test_given_up() -> None:
    told = standing(ACCEPTED, deferred("mailbox_full"), bounced(diagnostic="452 4.2.2 over quota"))
    assert (told.shown_as, told.cause) == ("Delivery issue", "mailbox full: 452 4.2.2 over quota")
    assert standing(ACCEPTED, bounced(), opened("person")).status == "failed"


def test_dead_forward() -> None:
    forward = bounced("hard", "invalid_recipient", forwarded_to="bob@example.net")
    assert standing(ACCEPTED, forward).status == "failed"
    assert standing(ACCEPTED, DELIVERED, forward).status == "failed"


def test_dead_forward_after_read_stays_read() -> None:
    told = standing(ACCEPTED, DELIVERED, opened("person"), bounced(forwarded_to="bob@example.net"))
    assert (told.status, told.notes) == ("read", ("refused at an address that it was forwarded to",))


def test_expiry_after_an_unknown_outcome_with_an_open_is_not_failed() -> None:
    assert standing(ACCEPTED, EXPIRED_UNSURE).status == "failed"
    assert standing(ACCEPTED, opened("bot"), EXPIRED_UNSURE).status == "delivered"
    assert standing(ACCEPTED, EXPIRED_UNSURE, opened("person")).status == "read"
    assert standing(ACCEPTED, bounced(category="expired"), opened("person")).status == "failed"


def test_a_plain_failure_outweighs_a_dead_forward_and_that_an_expiry() -> None:
    forward = bounced(forwarded_to="bob@example.net")
    assert standing(EXPIRED_UNSURE, forward, bounced()).event_id == UUID(int=2)
    assert standing(EXPIRED_UNSURE, forward).event_id == UUID(int=1)


def test_cancelled() -> None:
    told = standing(ACCEPTED, CANCELLED)
    assert (told.status, told.cause) == ("cancelled", "wrong customer")


def test_cancelled_too_late() -> None:
    told = standing(ACCEPTED, CANCELLED, DELIVERED)
    assert (told.status, told.notes) == ("delivered", ("cancelled too late",))


def test_opens_after_a_withdrawal_do_not_count() -> None:
    assert standing(ACCEPTED, DELIVERED, WITHDRAWN, opened("person")).status == "delivered"
    assert standing(ACCEPTED, WITHDRAWN, opened("person")).status == "queued"
    known = delivery_of(opened("person"), opened("person"), WITHDRAWN, opened("person"), WITHDRAWN)
    assert (known.opens["person"].count, known.opens["person"].last.event_id) == (2, UUID(int=1))


def test_an_open_at_the_very_time_of_the_withdrawal_counts() -> None:
    events = [about(WITHDRAWN, time=START), about(opened("person"), time=START)]
    assert table.status(subject.fold(events)).status == "read"
    assert not subject.needs_history(subject.fold(events[1:]), events[:1])


def test_erased() -> None:
    known = delivery_of(ACCEPTED, bounced(forwarded_to="alice@new.example"), Erased(by="a clerk", address_key="4f2a"))
    assert known.accepted
    assert known.accepted.data == Acceptance(recipient=ERASED, track_opens="full", has_html=True)
    assert table.status(known).status == "failed"


def test_every_personal_field_exists() -> None:
    for kind, names in PERSONAL_FIELDS.items():
        assert set(names) <= set(kind.model_fields)


# The roll-up of a message.


def test_one_of_two_recipients_bounced() -> None:
    to_two = ACCEPTED.model_copy(update={"recipient_count": 2})
    one, other = standing(to_two, DELIVERED, opened("person")), standing(to_two, DELIVERED, bounced("hard"))
    told = rollup([one.status, other.status], 2)
    assert (told.shown_as, told.rule) == ("Delivery issue: hard bounce (1 of 2)", "the gravest issue")
    assert told.counts == {"hard_bounce": 1, "read": 1}


def test_one_of_two_recipients_bounced_before_the_other_is_known() -> None:
    told = rollup([standing(ACCEPTED, bounced("hard")).status], 2)
    assert (told.shown_as, told.counts) == ("Delivery issue: hard bounce (1 of 2)", {"hard_bounce": 1, "queued": 1})


@pytest.mark.parametrize(
    ("statuses", "recipients", "status", "shown_as"),
    [
        ([], 0, "queued", "Sending"),
        ([], 2, "queued", "Sending"),
        (["delivered"], 1, "delivered", "Delivered"),
        (["delivered"], 0, "delivered", "Delivered"),
        (["delivered"], 2, "queued", "Sending"),
        (["delivered", "delivered"], 2, "delivered", "Delivered"),
        (["delivered", "deferred"], 2, "deferred", "Sending (delayed)"),
        (["unknown", "delivered"], 2, "unknown", "Sent, outcome unknown"),
        (["read"], 1, "read", "Read"),
        (["read", "delivered", "read"], 3, "read", "Read (2 of 3)"),
        (["read"], 3, "read", "Read (1 of 3)"),
        (["hard_bounce"], 1, "hard_bounce", "Delivery issue: hard bounce"),
        (["read", "hard_bounce", "failed"], 3, "hard_bounce", "Delivery issue: hard bounce (1 of 3)"),
        (["failed", "rejected", "spam", "spam"], 4, "spam", "Delivery issue: spam (2 of 4)"),
        (["cancelled", "cancelled"], 2, "cancelled", "Cancelled"),
        (["cancelled", "delivered"], 2, "delivered", "Delivered"),
        (["cancelled", "read"], 2, "read", "Read (1 of 2)"),
        (["cancelled"], 2, "queued", "Sending"),
    ],
)
def test_rollup(statuses: list[Status], recipients: int, status: Status, shown_as: str) -> None:
    told = rollup(statuses, recipients)
    assert (told.status, told.shown_as) == (status, shown_as)
    assert sum(told.counts.values()) == max(recipients, len(statuses))


@given(st.lists(st.sampled_from(ROWS), min_size=1, max_size=5), st.randoms())
@settings(derandomize=True, database=None)
def test_rollup_of_any_order_is_one_of_the_statuses(statuses: list[Status], random: Random) -> None:
    shuffled = random.sample(statuses, len(statuses))
    assert rollup(shuffled, len(statuses)) == rollup(statuses, len(statuses))
    assert rollup(statuses, len(statuses)).status in statuses


def test_every_status_has_its_row() -> None:
    assert tuple(row.status for row in table.PRECEDENCE) == ROWS == get_args(Status)
    assert ROWS[:4] == ISSUES
    assert [SHOWN_AS[row] for row in ISSUES if not SHOWN_AS[row].startswith("Delivery issue")] == []
