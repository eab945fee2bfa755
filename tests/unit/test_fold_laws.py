"""The laws of the fold over generated histories, and proof that broken folds and tables are noticed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, reduce
from itertools import combinations, pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from status_store import fold as subject
from status_store import standing as table
from status_store.fold import NOTHING, Delivery
from status_store.standing import Row, Status
from tests.unit.histories import PERSONAL, START, about, histories
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
    rows[index] = rows[index]._replace(claims=(table.Claim(deciding),))
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
