"""What keeps an address from being written to, and for how long: terms, counts, lifts, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from sender.suppression import OF_THE_MAILBOX, TERMS, Entry, Evidence, Kind, entries, kind, scope
from tests.unit.samples import NOON, modest
from tracepost.bounces.classify import rules
from tracepost.events import (
    BounceClass,
    Bounced,
    Complained,
    Data,
    Delivered,
    FeedbackType,
    RejectionReason,
    derived_id,
)

DAY = timedelta(days=1)
REASONS = get_args(RejectionReason)
_message = count(1)


def proof(name: Kind, day: float, message: int | None = None, **fields: Any) -> Evidence:
    """Evidence of that day; of a message of its own, unless one is named."""
    if name not in ("added", "lifted"):
        fields |= {"message_id": UUID(int=message or next(_message) << 32), "recipient_no": 0}
    told = {"kind": name, "at": NOON + day * DAY, **fields}
    return Evidence(id=derived_id(*told.items()), **told)


def only(evidence: Sequence[Evidence]) -> Entry:
    [entry] = entries(evidence)
    return entry


def holding(evidence: Sequence[Evidence], day: float) -> set[str]:
    return {each.reason for each in entries(evidence) if each.holds(NOON + day * DAY)}


MAILS = ("hard_bounce", "soft_bounce", "complaint", "not_spam", "delivered")
DAYS = st.sampled_from([0.0, 1.0, 3.0, 31.0]) | st.integers(0, 80).map(lambda half: half / 2)  # often of one time
PROOFS = st.one_of(
    st.builds(proof, st.sampled_from(MAILS), DAYS, st.integers(1, 4)),
    st.builds(proof, st.just("soft_bounce"), DAYS, st.integers(1, 9)),
    st.builds(proof, st.just("opt_out"), DAYS, st.integers(1, 4), app=st.sampled_from(["shop", "desk"])),
    st.builds(proof, st.just("lifted"), DAYS, app=st.sampled_from([None, "shop"])),
    st.builds(
        proof,
        st.just("added"),
        DAYS,
        app=st.sampled_from([None, "shop"]),
        reason=st.sampled_from(REASONS),
        until=st.sampled_from([None, NOON + 20 * DAY, NOON + 70 * DAY]),
    ),
)
HISTORIES = st.lists(PROOFS, max_size=14)


@given(HISTORIES, st.randoms(use_true_random=False))
@modest
def test_neither_order_nor_repetition_matters(history: list[Evidence], chance: random.Random) -> None:
    again = [*history, *chance.sample(history, len(history) // 2)]
    chance.shuffle(again)
    assert entries(again) == entries(history)


@given(st.lists(st.builds(proof, st.sampled_from(MAILS), st.just(0), st.integers(1, 4)), min_size=2))
@modest
def test_of_what_is_of_one_time_the_order_is_fixed(history: list[Evidence]) -> None:
    assert entries(reversed(history)) == entries(history)


@given(HISTORIES, DAYS)
@modest
def test_evidence_that_is_not_newer_than_a_lift_never_counts(history: list[Evidence], day: float) -> None:
    lift = proof("lifted", day, by="ann")
    later = [each for each in history if each.at > lift.at]
    assert holding([*history, lift], 41) == holding(later, 41)
    assert all(entry.evidence.at > lift.at for entry in entries([*history, lift]) if entry.lift is None)


@given(HISTORIES)
@modest
def test_an_entry_names_its_evidence(history: list[Evidence]) -> None:
    for entry in entries(history):
        assert entry.evidence in history
        assert (entry.since, entry.app) == (entry.evidence.at, entry.evidence.app)
        assert entry.until is None or entry.reason in ("hard_bounce", "soft_bounces") or entry.evidence.kind == "added"


@given(HISTORIES, st.sampled_from(["delivered", "not_spam", "lifted"]), DAYS, st.integers(1, 4))
@modest
def test_what_speaks_for_an_address_suppresses_nothing_new(
    history: list[Evidence], name: Kind, day: float, message: int
) -> None:
    before = {(each.app, each.reason) for each in entries(history)}
    assert {(each.app, each.reason) for each in entries([*history, proof(name, day, message)])} <= before


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("lifted", [False, True])
def test_the_histories_reach_every_reason(reason: str, lifted: bool) -> None:
    def reached(history: list[Evidence]) -> bool:
        found = [each for each in entries(history) if each.reason == reason and each.evidence.kind != "added"]
        found = found or [each for each in entries(history) if each.reason == reason == "manual"]
        return any((each.lift is not None) == lifted for each in found)

    assert find(HISTORIES, reached)


def test_each_hard_bounce_after_a_term_holds_longer() -> None:
    history: list[Evidence] = []
    day = 0.0
    for days in (30, 90, 180, 365, 365):
        history.append(proof("hard_bounce", day))
        entry = only(history)
        assert entry.until == entry.since + days * DAY
        day += days


def test_hard_bounces_within_a_term_are_one() -> None:
    history = [proof("hard_bounce", day) for day in (0, 1, 29.5)]
    assert only(history).until == NOON + 30 * DAY


def test_the_terms_never_shrink() -> None:
    assert all(list(terms) == sorted(terms) for terms in TERMS.values())
    assert TERMS.keys() == set(REASONS) - {"manual"}


@pytest.mark.parametrize(("name", "reason"), [("complaint", "spam_complaint"), ("opt_out", "unsubscribed")])
def test_what_the_recipient_says_holds_for_ever(name: Kind, reason: str) -> None:
    entry = only([proof(name, 1), proof(name, 0)])
    assert (entry.reason, entry.since, entry.until) == (reason, NOON, None)


@pytest.mark.parametrize(
    ("days", "suppressed"),
    [((0, 1, 3), True), ((0, 1, 2.5), False), ((0, 3), False), ((0, 20, 40), False), ((0, 20, 29, 40), True)],
)
def test_several_soft_failures_over_days_give_a_rest(days: Sequence[float], suppressed: bool) -> None:
    history = [proof("soft_bounce", day) for day in days]
    assert bool(entries(history)) == suppressed
    if suppressed:
        entry = only(history)
        assert (entry.reason, entry.since) == ("soft_bounces", history[-1].at)
        assert entry.until == entry.since + 7 * DAY


def test_one_message_that_fails_again_and_again_is_one() -> None:
    assert entries([proof("soft_bounce", day, message=1) for day in range(9)]) == []


def test_a_success_between_starts_the_count_anew() -> None:
    failures = [proof("soft_bounce", day) for day in (0, 2, 4)]
    assert entries([*failures, proof("delivered", 3)]) == []
    assert entries([*failures, proof("delivered", 5)]) == entries(failures)


def test_a_message_that_came_back_later_was_no_success() -> None:
    failures = [proof("soft_bounce", day, message) for message, day in enumerate((0, 2, 4), 1)]
    taken = [proof("delivered", day - 0.1, message) for message, day in enumerate((0, 2, 4), 1)]
    assert only([*failures, *taken]).reason == "soft_bounces"


def test_a_failure_after_the_rest_is_a_new_one() -> None:
    history = [proof("soft_bounce", day) for day in (0, 1, 3, 12)]
    assert only(history).since == NOON + 12 * DAY


@pytest.mark.parametrize("day", [0, 1])
def test_not_spam_undoes_the_complaint_about_its_message(day: float) -> None:
    history = [proof("complaint", 0, message=1), proof("not_spam", day, message=1)]
    entry = only(history)
    assert not entry.holds(NOON)
    assert entry.lift == history[1]
    assert holding([*history, proof("complaint", 0, message=2)], 2) == {"spam_complaint"}
    assert holding([*history, proof("complaint", 2, message=1)], 2) == {"spam_complaint"}


def test_an_older_not_spam_undoes_nothing() -> None:
    assert only([proof("complaint", 1, message=1), proof("not_spam", 0, message=1)]).lift is None


def test_a_lift_of_one_app_leaves_what_holds_for_all() -> None:
    history = [proof("hard_bounce", 0), proof("opt_out", 0, app="shop"), proof("opt_out", 0, app="desk")]
    lifted = [(e.app, e.reason) for e in entries([*history, proof("lifted", 1, app="shop")]) if e.lift]
    assert lifted == [("shop", "unsubscribed")]
    assert all(entry.lift for entry in entries([*history, proof("lifted", 1)]))


def test_a_lift_is_told_with_what_it_lifted() -> None:
    first, second = proof("lifted", 1, by="ann"), proof("lifted", 3, by="bob")
    history = [proof("hard_bounce", 0), first, proof("hard_bounce", 2), second, proof("lifted", 4, by="eve")]
    entry = only(history)
    assert (entry.since, entry.lift) == (NOON + 2 * DAY, second)
    assert only(history[:3]).until == NOON + 32 * DAY  # counted anew


def test_the_newest_decision_counts_and_the_longer_of_decision_and_evidence() -> None:
    week, month = NOON + 7 * DAY, NOON + 31 * DAY
    added = [
        proof("added", 0, reason="hard_bounce", until=month),
        proof("added", 1, reason="hard_bounce", until=week),
    ]
    assert only(added).until == week
    assert only([*added, proof("hard_bounce", 0)]).until == NOON + 30 * DAY
    assert only([added[0], proof("hard_bounce", 0)]).until == month


def test_a_clock_that_is_wrong_by_millennia_breaks_nothing() -> None:
    late = replace(proof("hard_bounce", 0), at=datetime.max.replace(tzinfo=NOON.tzinfo))
    assert only([late]).until is None


def bounced(bounce_class: BounceClass = "hard", category: str = "invalid_recipient", **fields: Any) -> Bounced:
    return Bounced(bounce_class=bounce_class, category=category, origin="dsn", **fields)


def complained(feedback_type: FeedbackType, **fields: Any) -> Complained:
    return Complained(feedback_type=feedback_type, origin="arf", **fields)


TOLD: dict[FeedbackType, Kind] = {
    "abuse": "complaint",
    "fraud": "complaint",
    "virus": "complaint",
    "other": "complaint",
    "not-spam": "not_spam",
    "opt-out": "opt_out",
}


@pytest.mark.parametrize("feedback_type", get_args(FeedbackType))
def test_every_complaint_says_something(feedback_type: FeedbackType) -> None:
    assert kind(complained(feedback_type)) == TOLD[feedback_type]


@pytest.mark.parametrize("cause", {rule.cause.category: rule.cause for rule in rules()}.values(), ids=str)
def test_what_blames_us_is_never_held_against_the_recipient(cause: Any) -> None:
    learnt = kind(bounced(cause.bounce_class, cause.category))
    if cause.bounce_class == "hard":
        assert learnt == "hard_bounce"
    else:
        assert learnt == ("soft_bounce" if cause.category in OF_THE_MAILBOX else None)


@pytest.mark.parametrize(
    ("words", "learnt"),
    [
        ("452 4.2.2 Mailbox full", "soft_bounce"),
        ("no session: connection refused", None),
        ("450 4.7.1 Greylisted, try again later", None),
        ("the request expired before the next attempt", None),
    ],
)
def test_what_was_given_up_counts_by_its_last_refusal(words: str, learnt: Kind | None) -> None:
    assert kind(bounced("soft", "expired", diagnostic=words)) == learnt


@pytest.mark.parametrize(
    "data",
    [
        bounced(certainty="candidate"),
        bounced(forwarded_to="bob@example.org"),
        bounced("soft", "mailbox_full", certainty="candidate"),
        bounced("soft", "mailbox_full", forwarded_to="bob@example.org"),
        complained("abuse", certainty="candidate"),
        complained("not-spam", certainty="candidate"),
        Delivered(origin="smtp"),
    ],
)
def test_what_is_not_sure_teaches_nothing(data: Data) -> None:
    assert kind(data) is None


def test_only_an_opt_out_is_about_one_app() -> None:
    assert [each for each in get_args(Kind) if scope(each, "shop")] == ["opt_out"]
