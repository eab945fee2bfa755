"""The laws of the fold over generated histories, its table by real cases, and proof that broken folds are noticed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial, reduce
from itertools import combinations, pairwise, permutations
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, get_args
from uuid import UUID

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from status_store import fold as subject
from status_store import standing as table
from status_store.fold import ERASED, NOTHING, Delivery
from status_store.fold import PERSONAL as PERSONAL_FIELDS
from status_store.rollup import ISSUES, SHOWN_AS, rollup
from status_store.standing import Row, Standing, Status
from tests.unit.histories import PERSONAL, START, about, histories
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

ROWS: tuple[Status, ...] = (
    "spam",
    "hard_bounce",
    "rejected",
    "failed",
    "cancelled",
    "read",
    "delivered",
    "unknown",
    "deferred",
    "queued",
)
# The first asks that there be no sign of receipt, and the second is one.
IMPOSSIBLE: set[tuple[Status, Status]] = {
    ("rejected", "read"),
    ("rejected", "delivered"),
    ("cancelled", "read"),
    ("cancelled", "delivered"),
}
POSSIBLE = [pair for pair in combinations(ROWS, 2) if pair not in IMPOSSIBLE]

Found = TypeVar("Found", bound=Data)


# The specification once more, read off the events themselves and as plainly as possible.


def said(history: Iterable[AnyEvent], kind: type[Found]) -> list[Found]:
    return [event.data for event in history if isinstance(event.data, kind)]


def order(event: AnyEvent) -> tuple[Any, UUID]:
    return event.time, event.id


def counted_opens(history: Sequence[AnyEvent]) -> list[AnyEvent]:
    until = min((event.time for event in history if isinstance(event.data, Withdrawn)), default=None)
    return [event for event in history if isinstance(event.data, Opened) and (until is None or event.time <= until)]


def has_receipt(history: Sequence[AnyEvent]) -> bool:
    feedback = [each for each in said(history, Complained) if each.feedback_type != "opt-out"]
    return bool(said(history, Delivered) or said(history, Replied) or counted_opens(history) or feedback)


def is_read(history: Sequence[AnyEvent]) -> bool:
    verdicts = {opened.verdict for opened in said(counted_opens(history), Opened)}
    return bool(said(history, Replied) or verdicts & {"person", "proxied"})


def complaint_stands(history: Sequence[AnyEvent]) -> bool:
    exact = [
        event
        for event in sorted(history, key=order)
        if isinstance(event.data, Complained)
        and event.data.certainty == "exact"
        and event.data.feedback_type != "opt-out"
    ]
    return bool(exact) and exact[-1].data.feedback_type != "not-spam"


def weight(bounce: Bounced) -> str:
    if bounce.forwarded_to is not None:
        return "dead forward"
    if bounce.certainty == "exact" and bounce.bounce_class in ("spam", "hard"):
        return bounce.bounce_class
    return "expired, outcome unknown" if bounce.category == "expired" and bounce.outcome_unknown else "other"


def holding_rows(history: Sequence[AnyEvent]) -> set[Status]:
    """Every row whose condition holds, whether or not one above it holds too."""
    receipt, read = has_receipt(history), is_read(history)
    bounces = {weight(bounce) for bounce in said(history, Bounced)}
    deferred = said(sorted(history, key=order), Deferred)
    failed = {"other"} | (set() if read else {"dead forward"}) | (set() if receipt else {"expired, outcome unknown"})
    holds: dict[Status, bool] = {
        "spam": complaint_stands(history) or "spam" in bounces,
        "hard_bounce": "hard" in bounces,
        "rejected": bool(said(history, Rejected)) and not receipt,
        "failed": bool(bounces & failed),
        "cancelled": bool(said(history, Cancelled)) and not receipt,
        "read": read,
        "delivered": receipt,
        "unknown": bool(deferred) and deferred[-1].parked and deferred[-1].outcome_unknown,
        "deferred": bool(deferred),
        "queued": bool(said(history, Accepted)),
    }
    return {row for row in ROWS if holds[row]}


def expected_status(history: Sequence[AnyEvent]) -> Status:
    holding = holding_rows(history)
    return next((row for row in ROWS if row in holding), "queued")


# The laws. Each finds what it tests in the module when it is called, so that a test can break it there.

Law = Callable[[list[AnyEvent], Random], None]


def keeps_order_irrelevant(history: list[AnyEvent], random: Random) -> None:
    assert subject.fold(random.sample(history, len(history))) == subject.fold(history)


def keeps_duplicates_irrelevant(history: list[AnyEvent], random: Random) -> None:
    repeated = history + random.sample(history, random.randint(0, len(history)))
    assert subject.fold(random.sample(repeated, len(repeated))) == subject.fold(history)


def takes_parts_as_the_whole(history: list[AnyEvent], random: Random) -> None:
    """Whatever the batches are, storing in between and folding again where that is asked for, and only there."""
    cuts = sorted(random.randint(0, len(history)) for _ in range(3))
    delivery = NOTHING
    for start, end in pairwise([0, *cuts, len(history)]):
        batch = history[start:end]
        whole, onto = subject.fold(history[:end]), subject.fold(batch, delivery)
        again = subject.needs_history(delivery, batch)
        assert again == (onto != whole)
        delivery = subject.from_json(subject.to_json(whole if again else onto))
        assert delivery == whole


def repeats_without_effect(history: list[AnyEvent], random: Random) -> None:
    """Except for the count of opens, for which the store sees to it that each event is folded once."""
    delivery = subject.fold(history)
    again = subject.fold(random.sample(history, len(history)), delivery)
    assert replace(again, opens={}) == replace(delivery, opens={})
    assert table.status(again) == table.status(delivery)


def survives_jsonb(history: list[AnyEvent], _: Random) -> None:
    """Exactly, although jsonb orders the keys and writes texts in its own way."""
    delivery = subject.fold(history)
    assert subject.from_json(json.dumps(json.loads(subject.to_json(delivery)), sort_keys=True)) == delivery


def keeps_the_right_facts(history: list[AnyEvent], _: Random) -> None:
    delivery, ordered = subject.fold(history), sorted(history, key=order)
    for kind in (Accepted, Rejected, Delivered, Replied, Cancelled, Withdrawn, Erased):
        first = next((event.id for event in ordered if isinstance(event.data, kind)), None)
        fact = getattr(delivery, kind.__name__.lower())
        assert (fact and fact.event_id) == first
    last = next((event.id for event in reversed(ordered) if isinstance(event.data, Deferred)), None)
    assert (delivery.deferred and delivery.deferred.event_id) == last
    assert (delivery.bounced and delivery.bounced.event_id) == gravest_bounce(ordered)
    opens = {key: (each.first.event_id, each.last.event_id, each.count) for key, each in delivery.opens.items()}
    assert opens == opens_by_verdict(ordered)


def gravest_bounce(ordered: Sequence[AnyEvent]) -> UUID | None:
    for kind in ("spam", "hard", "other", "dead forward", "expired, outcome unknown"):
        for event in ordered:
            if isinstance(event.data, Bounced) and weight(event.data) == kind:
                return event.id
    return None


def opens_by_verdict(ordered: Sequence[AnyEvent]) -> dict[Verdict, tuple[UUID, UUID, int]]:
    found: dict[Verdict, list[UUID]] = {}
    for event in counted_opens(ordered):
        assert isinstance(event.data, Opened)
        found.setdefault(event.data.verdict, []).append(event.id)
    return {verdict: (ids[0], ids[-1], len(ids)) for verdict, ids in found.items()}


def follows_the_table(history: list[AnyEvent], _: Random) -> None:
    assert table.status(subject.fold(history)).status == expected_status(history)


def names_its_evidence(history: list[AnyEvent], _: Random) -> None:
    """The event that decided gives that status alone; only a complaint that was taken back says more alone."""
    standing = table.status(subject.fold(history))
    deciding = [event for event in history if event.id == standing.event_id]
    if standing.event_id is None:
        assert (standing.status, standing.time) == ("queued", None)
    elif not (standing.status == "delivered" and isinstance(deciding[0].data, Complained)):
        assert table.status(subject.fold(deciding)).status == standing.status
        assert deciding[0].time == standing.time


def forgets_the_recipient(history: list[AnyEvent], _: Random) -> None:
    """Whenever the `erased` comes, nothing personal stays, and no status changes."""
    known = [event for event in history if not isinstance(event.data, Erased)]
    erased = about(Erased(by="a clerk", reason=PERSONAL, address_key="4f2a"), time=START)
    late = subject.fold([erased], subject.fold(known))
    assert PERSONAL not in subject.to_json(late)
    assert subject.fold(known, subject.fold([erased])) == late == subject.fold([*known, erased])
    assert table.status(late).status == table.status(subject.fold(known)).status


LAWS: tuple[Law, ...] = (
    keeps_order_irrelevant,
    keeps_duplicates_irrelevant,
    takes_parts_as_the_whole,
    repeats_without_effect,
    survives_jsonb,
    keeps_the_right_facts,
    follows_the_table,
    names_its_evidence,
    forgets_the_recipient,
)


MOST_ROUNDS = 5
# Derandomised, so that each run tries the same histories.
SAME = settings(derandomize=True, database=None, deadline=None, max_examples=200)


@cache
def sample() -> list[list[AnyEvent]]:
    """At least 1,500 histories, and more until every possible pair of rows was reached.

    Hypothesis draws on constants of the modules that happen to be loaded, so that even a seed gives other
    histories in another company of tests.
    """
    found: list[list[AnyEvent]] = []

    def collect(history: list[AnyEvent]) -> None:
        found.append(history)

    for number in range(MOST_ROUNDS):
        generate = given(histories())(collect)
        seed(number)(settings(SAME, derandomize=False, max_examples=1500, phases=[Phase.generate])(generate))()
        if set(pairs_in(found)) == set(POSSIBLE):
            break
    return found


def check(law: Law) -> None:
    for n, history in enumerate(sample()):
        law(history, Random(n))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_fold(law: Law) -> None:
    SAME(given(histories(), st.randoms(use_true_random=True))(law))()  # where it fails, this shows a small history
    check(law)


# The generator reaches every pair of rows, and a table with any two rows exchanged is noticed.


def pairs_in(histories: Iterable[Sequence[AnyEvent]]) -> Counter[tuple[Status, Status]]:
    return Counter(
        pair for history in histories for pair in combinations(sorted(holding_rows(history), key=ROWS.index), 2)
    )


def matrix(reached: Counter[tuple[Status, Status]]) -> str:
    cells = {pair: str(reached[pair]) for pair in POSSIBLE} | dict.fromkeys(IMPOSSIBLE, "-")
    lines = [[upper, *(cells.get((upper, lower), "") for lower in ROWS)] for upper in ROWS]
    return "\n".join("".join(f"{cell:>12}" for cell in line) for line in (["", *ROWS], *lines))


def test_the_generated_histories_reach_every_pair_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    reached = pairs_in(sample())
    with capsys.disabled():
        print(f"\n{len(sample())} histories in which both rows hold:\n{matrix(reached)}")  # noqa: T201 - to be read
    assert set(reached) == set(POSSIBLE)


@pytest.mark.parametrize("pair", POSSIBLE, ids="-".join)
def test_a_table_with_two_rows_exchanged_is_noticed(
    pair: tuple[Status, Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(table.PRECEDENCE)
    upper, lower = map(ROWS.index, pair)
    rows[upper], rows[lower] = rows[lower], rows[upper]
    monkeypatch.setattr(table, "PRECEDENCE", tuple(rows))
    assert any(table.status(subject.fold(history)).status != expected_status(history) for history in sample())


# Folds that are broken on purpose, each with the law that has to notice.

sound = SimpleNamespace(**vars(table) | vars(subject))


def the_last(known: object, new: object) -> object:
    return new


def each_on_its_own(events: Iterable[AnyEvent], onto: Delivery = NOTHING) -> Delivery:
    withdrawals_first = sorted(events, key=lambda event: not isinstance(event.data, Withdrawn))
    return reduce(lambda known, event: sound.fold([event], known), withdrawals_first, onto)


def by_class_alone(bounce: Bounced) -> object:
    return sound.gravity(bounce.model_copy(update={"certainty": "exact", "forwarded_to": None}))


def final_expiry(bounce: Bounced) -> object:
    return sound.gravity(bounce.model_copy(update={"outcome_unknown": False}))


def undone_for_good(known: Delivery) -> Any:
    return None if known.not_spam else sound.PRECEDENCE[0].deciding(known)


def with_row(index: int, deciding: Callable[[Delivery], Any]) -> tuple[Row, ...]:
    rows = list(table.PRECEDENCE)
    rows[index] = rows[index]._replace(deciding=deciding)
    return tuple(rows)


MUTANTS: dict[str, tuple[Law, str, object]] = {
    "the last bounce wins": (keeps_order_irrelevant, "_gravest", the_last),
    "the last deferral wins": (keeps_order_irrelevant, "_latest", the_last),
    "equal times are not told apart": (keeps_order_irrelevant, "moment", lambda fact: (fact.time,)),
    "duplicates count": (keeps_duplicates_irrelevant, "fold", each_on_its_own),
    "a withdrawal never asks for the history": (takes_parts_as_the_whole, "needs_history", lambda *_: False),
    "a withdrawal always asks for the history": (takes_parts_as_the_whole, "needs_history", lambda *_: True),
    "each fold forgets the one before": (
        takes_parts_as_the_whole,
        "fold",
        lambda events, onto=None: sound.fold(events),
    ),
    "a fact is not stored": (survives_jsonb, "to_json", lambda known: sound.to_json(replace(known, not_spam=None))),
    "a withdrawal changes nothing": (keeps_the_right_facts, "_withheld", lambda *_: False),
    "the first deferral stays": (keeps_the_right_facts, "_latest", sound._earliest),
    "the last of everything stays": (keeps_the_right_facts, "_earliest", sound._latest),
    "a bounce placed by hand is exact": (follows_the_table, "gravity", by_class_alone),
    "expiry is always a failure": (follows_the_table, "gravity", final_expiry),
    "a complaint placed by hand hides another": (follows_the_table, "_surest", sound._latest),
    "not-spam undoes later complaints": (follows_the_table, "PRECEDENCE", with_row(0, undone_for_good)),
    "rejected in spite of receipt": (follows_the_table, "PRECEDENCE", with_row(2, lambda known: known.rejected)),
    "cancelled in spite of receipt": (follows_the_table, "PRECEDENCE", with_row(4, lambda known: known.cancelled)),
    "every open makes Read": (
        follows_the_table,
        "PRECEDENCE",
        with_row(5, lambda known: next((opens.first for opens in known.opens.values()), known.replied)),
    ),
    "the wrong event is named": (names_its_evidence, "PRECEDENCE", with_row(6, lambda known: known.bounced)),
    "erasure forgets what came before": (forgets_the_recipient, "_redacted", lambda facts: facts),
    "erasure hides that mail was forwarded": (
        forgets_the_recipient,
        "redact",
        lambda data: sound.redact(
            data.model_copy(update={"forwarded_to": None}) if isinstance(data, Bounced) else data
        ),
    ),
}


@pytest.mark.parametrize(("law", "name", "broken"), MUTANTS.values(), ids=MUTANTS)
def test_a_broken_fold_is_noticed(law: Law, name: str, broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (subject, table):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, broken)
    with pytest.raises(AssertionError):
        check(law)


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
EXPIRED_UNSURE = bounced(category="expired", outcome_unknown=True)


def delivery_of(*happened: Data) -> Delivery:
    """What these, a minute apart, come to; whatever the order in which they arrive."""
    events = [about(data, id=UUID(int=n), time=START + timedelta(minutes=n)) for n, data in enumerate(happened)]
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
    parked = deferred("network", parked=True, outcome_unknown=True)
    assert standing(ACCEPTED, parked).shown_as == "Sent, outcome unknown"
    assert standing(ACCEPTED, parked, deferred()).status == "deferred"
    assert standing(ACCEPTED, deferred(outcome_unknown=True)).status == "deferred"
    assert standing(ACCEPTED, deferred(parked=True)).status == "deferred"


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


def test_replied_is_read_where_opens_are_not_tracked() -> None:
    assert standing(ACCEPTED, DELIVERED, Replied()).status == "read"


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


def test_a_bounce_placed_by_hand_is_a_plain_failure() -> None:
    assert standing(ACCEPTED, bounced("hard", certainty="candidate")).status == "failed"
    assert standing(ACCEPTED, bounced("spam", certainty="candidate")).status == "failed"


def test_complaint_then_not_spam() -> None:
    told = standing(ACCEPTED, feedback("abuse"), feedback("not-spam"))
    assert (told.status, told.cause) == ("delivered", "reported as abuse")


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
    assert known.accepted.data == ACCEPTED.model_copy(update={"recipient": ERASED, "subject_line": ERASED})
    assert table.status(known).status == "failed"


def test_every_personal_field_exists() -> None:
    for kind, names in PERSONAL_FIELDS.items():
        assert set(names) <= set(kind.model_fields)


# The roll-up of a message.


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
