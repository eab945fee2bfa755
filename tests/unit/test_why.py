"""The reasons of a status: laws over generated histories, the real cases, and proof that broken reasons are noticed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from status_store import why as subject
from status_store.fold import ERASED, Delivery, Mark, fold
from status_store.standing import PRECEDENCE, Status, applying, holding, status
from status_store.why import Effect, Evidence, Other, Why
from tests.unit.histories import PERSONAL, START, about, histories
from tests.unit.test_fold_laws import (
    ROWS,
    SAME,
    Law,
    check,
    complaint_stands,
    counted_opens,
    expected_status,
    has_receipt,
    holding_rows,
    is_read,
    order,
    said,
    sample,
)
from tests.unit.test_fold_laws import weight as weight_of
from tests.unit.test_statuses import (
    ACCEPTED,
    CANCELLED,
    DELIVERED,
    EXPIRED_UNSURE,
    REJECTED,
    UNSURE,
    WITHDRAWN,
    bounced,
    deferred,
    events_of,
    feedback,
    opened,
)
from tracepost.events import (
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
    StatusChanged,
    Withdrawn,
)

# Lost to another event of the same kind.
BEATEN: set[Effect] = {"repeated", "superseded", "simultaneous", "less_grave", "less_sure"}
# Without these, nothing about a status would be another.
IDLE: set[Effect] = {*BEATEN, "withheld", "other_mail"}
LOST_TO_NONE: set[Effect] = {"other_mail", "no_outcome"}
GRAVEST = ("spam", "hard", "other", "dead forward", "expired, outcome unknown")


# The laws. Each finds what it tests in the module when it is called, so that a test can break it there.


def keeps_order_and_duplicates_irrelevant(history: list[AnyEvent], random: Random) -> None:
    repeated = history + random.sample(history, random.randint(0, len(history)))
    assert subject.explain(random.sample(repeated, len(repeated))) == subject.explain(history)


def tells_each_event_once(history: list[AnyEvent], _: Random) -> None:
    told = subject.explain(history)
    each: list[Other | Evidence] = [*told.others, *filter(None, [told.deciding])]
    assert sorted((e.event_id, e.name, e.time) for e in each) == sorted((e.id, e.name, e.time) for e in history)
    assert [(e.time, e.event_id) for e in told.others] == sorted((e.time, e.event_id) for e in told.others)


def says_what_the_status_says(history: list[AnyEvent], _: Random) -> None:
    told, standing = subject.explain(history), status(fold(history))
    assert (told.deciding and told.deciding.event_id) == standing.event_id
    for name in ("status", "shown_as", "rule", "cause", "notes"):
        assert getattr(told, name) == getattr(standing, name)


def leads_to_what_decided(history: list[AnyEvent], _: Random) -> None:
    """From loser to winner there is no circle, and at the end stands the deciding event, or a withdrawal."""
    told = subject.explain(history)
    others = {each.event_id: each for each in told.others}
    for each in told.others:
        assert (each.lost_to is None) == (each.effect in LOST_TO_NONE)
        way = [each.event_id]
        while winner := others[way[-1]].lost_to if way[-1] in others else None:
            assert winner not in way
            way.append(winner)
        if each.effect == "withheld":
            assert others[way[-1]].name == "withdrawn"
        elif each.lost_to:
            assert told.deciding
            assert way[-1] == told.deciding.event_id


def loses_to_it_alone_too(history: list[AnyEvent], _: Random) -> None:
    """Of an event and what it lost to, the latter decides; but taking back does not give a status of its own."""
    events = {event.id: event for event in history}
    for each in subject.explain(history).others:
        if each.lost_to:
            both = status(fold([events[each.event_id], events[each.lost_to]]))
            match each.effect:
                case "withheld":
                    assert both.event_id is None
                case "taken_back":
                    assert both.status == "delivered"
                case _:
                    assert both.event_id == each.lost_to


def leaves_out_what_is_idle(history: list[AnyEvent], _: Random) -> None:
    told = subject.explain(history)
    idle = {each.event_id for each in told.others if each.effect in IDLE}
    assert status(fold(event for event in history if event.id not in idle)) == status(fold(history))


def gives_the_expected_effects(history: list[AnyEvent], _: Random) -> None:
    events = {event.id: event for event in history}
    told = subject.explain(history)
    for each in told.others:
        event = events[each.event_id]
        winner = counting(event, history)
        assert each.effect == expected_effect(event, winner, history, told.status)
        if each.effect in BEATEN:
            assert each.lost_to == winner.id


def names_the_rows_that_hold_too(history: list[AnyEvent], _: Random) -> None:
    told = subject.explain(history)
    found = [*([told.status] if told.deciding else []), *(row.status for row in told.runners_up)]
    assert found == [row for row in ROWS if row in found]
    hidden = holding_rows(history).difference(found)
    # A graver bounce hides the others.
    assert hidden <= ({"hard_bounce", "failed"} if len(said(history, Bounced)) > 1 else set())
    for row in told.runners_up:
        [event] = [event for event in history if event.id == row.event_id]
        assert row.status in holding_rows(history)
        assert (row.name, row.time) == (event.name, event.time)


def forgets_the_recipient(history: list[AnyEvent], _: Random) -> None:
    """And nothing else."""
    known = [event for event in history if not isinstance(event.data, Erased)]
    erased = about(Erased(by="a clerk", reason=PERSONAL, address_key="4f2a"), time=START)
    told, before = subject.explain([*known, erased]), subject.explain(known)
    assert PERSONAL not in to_json(told).decode()
    assert [each for each in told.others if each.event_id != erased.id] == list(before.others)
    assert told.runners_up == before.runners_up


# The specification once more, read off the events themselves.


def counting(event: AnyEvent, history: list[AnyEvent]) -> AnyEvent:
    """Of the events that can only count instead of each other, the one that does."""
    withheld = [each for each in history if isinstance(each.data, Opened) and each not in counted_opens(history)]
    rivals = [each for each in history if kind_of(each) == kind_of(event) and each not in withheld]
    pick = max if isinstance(event.data, Deferred | Complained) else min
    return pick(rivals, key=lambda each: (rank(each.data), *order(each)), default=event)


def rank(data: Data) -> int:
    match data:
        case Bounced():
            return GRAVEST.index(weight_of(data))
        case Complained():
            return ("candidate", "exact").index(data.certainty)
        case _:
            return 0


def kind_of(event: AnyEvent) -> tuple[str, str | None]:
    match event.data:
        case Opened(verdict=verdict):
            return event.name, verdict
        case Complained(feedback_type=kind):
            return event.name, kind if kind in ("not-spam", "opt-out") else None
        case _:
            return event.name, None


def expected_effect(event: AnyEvent, winner: AnyEvent, history: list[AnyEvent], decided: Status) -> Effect:
    match event.data:
        case Withdrawn() | Erased() | StatusChanged():
            return "no_outcome"
        case Complained(feedback_type="opt-out"):
            return "other_mail"
        case Opened() if event not in counted_opens(history):
            return "withheld"
        case _ if winner != event:
            return expected_defeat(event, winner)
        case data:
            agreed = expected_status([event]) == decided
            return expected_refusal(data, history) or ("agrees" if agreed else "outranked")


def expected_defeat(event: AnyEvent, winner: AnyEvent) -> Effect:
    match event.data, winner.data:
        case Bounced() as lost, Bounced() as won if weight_of(lost) != weight_of(won):
            return "less_grave"
        case Complained(certainty="candidate"), Complained(certainty="exact"):
            return "less_sure"
        case _ if event.time == winner.time:
            return "simultaneous"
        case ((Deferred() | Complained()), _):
            return "superseded"
        case _:
            return "repeated"


def expected_refusal(data: Data, history: list[AnyEvent]) -> Effect | None:
    match data:
        case Rejected() | Cancelled() if has_receipt(history):
            return "was_received"
        case Bounced() if weight_of(data) == "expired, outcome unknown" and has_receipt(history):
            return "was_received"
        case Bounced() if weight_of(data) == "dead forward" and is_read(history):
            return "was_read"
        case Complained(certainty="candidate") | Complained(feedback_type="not-spam"):
            return "only_receipt"
        case Complained() if not complaint_stands(history):
            return "taken_back"
        case Opened(verdict="prefetched" | "bot" | "unknown"):
            return "no_reader"
        case _:
            return None


LAWS: tuple[Law, ...] = (
    keeps_order_and_duplicates_irrelevant,
    tells_each_event_once,
    says_what_the_status_says,
    leads_to_what_decided,
    loses_to_it_alone_too,
    leaves_out_what_is_idle,
    gives_the_expected_effects,
    names_the_rows_that_hold_too,
    forgets_the_recipient,
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_why(law: Law) -> None:
    SAME(given(histories(), st.randoms(use_true_random=True))(law))()  # where it fails, this shows a small history
    check(law)


def test_the_row_that_applies_is_the_first_that_holds() -> None:
    for history in sample():
        known = fold(history)
        rows = [row for row, _ in holding(known)]
        assert applying(known)[0] == (rows or PRECEDENCE[-1:])[0]


def test_the_generated_histories_reach_every_effect() -> None:
    reached = Counter(each.effect for history in sample() for each in subject.explain(history).others)
    assert set(reached) == set(get_args(Effect))


# Reasons that are broken on purpose, each with the law that has to notice.

sound = SimpleNamespace(**vars(subject))


def one_more(events: Iterable[AnyEvent]) -> Why:
    told: Why = sound.explain(events)
    return replace(told, others=(*told.others, *told.others[:1]))


def unredacted(event: AnyEvent, _: bool) -> Evidence:
    evidence: Evidence = sound._evidence(event, False)
    return evidence


def to_itself(own: Mark, winner: Mark) -> Any:
    return sound._compared(own, winner)._replace(to=own.event_id)


def to_nothing(*about_it: Any) -> Any:
    return sound._behind(*about_it)._replace(to=None)


def by_another(denied: Delivery) -> Any:
    return {id_: ("was_received", against) for id_, (_, against) in sound.denied(denied).items()}


def regardless_of_certainty(own: Mark, winner: Mark) -> Any:
    return sound._compared(Mark(own.event_id, own.time), winner)


MUTANTS: dict[str, tuple[Law, str, object]] = {
    "the order of arrival shows": (keeps_order_and_duplicates_irrelevant, "_order", lambda event: 0),
    "an event is told twice": (tells_each_event_once, "explain", one_more),
    "others stand in the order of their ids": (tells_each_event_once, "_order", lambda event: event.id),
    "another row decided": (
        says_what_the_status_says,
        "holding",
        lambda known: sound.holding(known)[1:] or sound.holding(known),
    ),
    "a repetition loses to itself": (leads_to_what_decided, "_compared", to_itself),
    "an outranked event loses to nothing": (leads_to_what_decided, "_behind", to_nothing),
    "nothing is denied": (loses_to_it_alone_too, "denied", lambda known: {}),
    "what counts is thought idle": (
        leaves_out_what_is_idle,
        "_behind",
        lambda *about_it: sound._behind(*about_it)._replace(effect="repeated"),
    ),
    "every denial is one by receipt": (gives_the_expected_effects, "denied", by_another),
    "nothing is beaten": (gives_the_expected_effects, "_beaten", lambda *_: None),
    "the gravity of a bounce does not show": (gives_the_expected_effects, "gravity", lambda bounce: 1),
    "the certainty of feedback does not show": (
        gives_the_expected_effects,
        "_compared",
        regardless_of_certainty,
    ),
    "the earlier is taken for the later": (
        gives_the_expected_effects,
        "moment",
        lambda fact: (START - fact.time, fact.event_id),
    ),
    "no row holds besides the first": (names_the_rows_that_hold_too, "holding", lambda known: sound.holding(known)[:1]),
    "the words are told as they came": (forgets_the_recipient, "_evidence", unredacted),
}


@pytest.mark.parametrize(("law", "name", "broken"), MUTANTS.values(), ids=MUTANTS)
def test_broken_reasons_are_noticed(law: Law, name: str, broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, name, broken)
    with pytest.raises(AssertionError):
        check(law)


# The real cases. Events are a minute apart and numbered from 0.

Lost = dict[int, tuple[Effect, int | None]]


def why(*happened: Data) -> Why:
    return subject.explain(events_of(*happened))


def decided(told: Why) -> tuple[Status, int | None]:
    return told.status, told.deciding.event_id.int if told.deciding else None


def lost(told: Why) -> Lost:
    """By event: what became of it, and the event that it lost to."""
    return {each.event_id.int: (each.effect, each.lost_to.int if each.lost_to else None) for each in told.others}


def sentences(told: Why) -> dict[int, str]:
    return {each.event_id.int: each.sentence for each in told.others}


def runners_up(told: Why) -> list[tuple[Status, int]]:
    return [(row.status, row.event_id.int) for row in told.runners_up]


def test_nothing_known_yet() -> None:
    told = why()
    assert told == Why("queued", "Sending", "accepted, or nothing known yet", None, (), None, (), ())


def test_returned_after_delivered() -> None:
    returned = bounced(
        "hard",
        "invalid_recipient",
        smtp_code=550,
        enhanced_code="5.1.1",
        diagnostic="550 5.1.1 no such user",
        remote_mta="mx.example.org",
        rule="no-such-user",
    )
    told = why(ACCEPTED, DELIVERED, returned)
    assert (told.rule, told.cause) == ("returned: the address is dead", "invalid recipient: 550 5.1.1 no such user")
    assert told.deciding == Evidence(
        UUID(int=2),
        "bounced",
        START + timedelta(minutes=2),
        origin="dsn",
        smtp_code=550,
        enhanced_code="5.1.1",
        remote_mta="mx.example.org",
        text="550 5.1.1 no such user",
        rule="no-such-user",
        bounce_class="hard",
        category="invalid_recipient",
        certainty="exact",
    )
    assert lost(told) == {0: ("outranked", 2), 1: ("outranked", 2)}
    assert sentences(told)[1] == "a later bounce outranks it"
    assert runners_up(told) == [("delivered", 1), ("queued", 0)]
    assert told.runners_up[0].sentence == "Delivered: there is a sign of receipt; outranked"


def test_delivered_in_the_servers_own_words() -> None:
    answered = Delivered(
        response="250 2.0.0 ok", smtp_code=250, enhanced_code="2.0.0", remote_mta="mx.example.org", origin="smtp"
    )
    assert why(ACCEPTED, answered).deciding == Evidence(
        UUID(int=1),
        "delivered",
        START + timedelta(minutes=1),
        origin="smtp",
        smtp_code=250,
        enhanced_code="2.0.0",
        remote_mta="mx.example.org",
        text="250 2.0.0 ok",
    )


def test_what_a_server_did_not_say_is_left_out() -> None:
    assert why(Delivered(origin="dsn")).deciding == Evidence(UUID(int=0), "delivered", START, origin="dsn")


def test_deferred_in_the_servers_own_words() -> None:
    told = why(ACCEPTED, deferred(smtp_code=451, diagnostic="451 come back later", rule="greylisting")).deciding
    assert told
    assert (told.name, told.smtp_code, told.text) == ("deferred", 451, "451 come back later")
    assert (told.rule, told.bounce_class, told.category) == ("greylisting", "soft", "greylisted")
    assert (told.origin, told.certainty) == ("smtp", None)


def test_opened_before_delivered_arrives() -> None:
    assert decided(why(opened("person"))) == ("read", 0)
    told = why(ACCEPTED, opened("proxied"), DELIVERED)
    assert decided(told) == ("read", 1)
    assert told.deciding
    assert told.deciding.rule == "some-rule"
    assert lost(told) == {0: ("outranked", 1), 2: ("outranked", 1)}
    assert sentences(told)[2] == "an earlier open by a person through an image proxy outranks it"
    assert runners_up(told) == [("delivered", 2), ("queued", 0)]


def test_complaint_then_not_spam() -> None:
    told = why(ACCEPTED, DELIVERED, feedback("abuse"), feedback("not-spam"))
    assert decided(told) == ("delivered", 1)
    assert lost(told) == {0: ("outranked", 1), 2: ("taken_back", 3), 3: ("only_receipt", 1)}
    assert sentences(told)[2] == "a later not-spam report takes it back"


def test_not_spam_then_complaint() -> None:
    told = why(ACCEPTED, DELIVERED, feedback("not-spam"), feedback("abuse"))
    assert decided(told) == ("spam", 3)
    assert told.deciding
    assert (told.deciding.origin, told.deciding.certainty) == ("arf", "exact")
    assert lost(told) == {0: ("outranked", 3), 1: ("outranked", 3), 2: ("only_receipt", 3)}
    assert sentences(told)[1] == "a later complaint outranks it"


def test_a_complaint_that_was_taken_back_is_a_sign_of_receipt() -> None:
    told = why(ACCEPTED, feedback("abuse"), feedback("not-spam"))
    assert decided(told) == ("delivered", 1)
    assert lost(told) == {0: ("outranked", 1), 2: ("only_receipt", 1)}


def test_a_complaint_that_was_taken_back_leaves_a_refusal_as_spam() -> None:
    told = why(feedback("abuse"), feedback("not-spam"), bounced("spam"))
    assert decided(told) == ("spam", 2)
    assert lost(told) == {0: ("taken_back", 1), 1: ("only_receipt", 2)}


def test_a_complaint_is_named_before_a_refusal_as_spam() -> None:
    told = why(bounced("spam"), feedback("abuse"))
    assert decided(told) == ("spam", 1)
    assert lost(told) == {0: ("agrees", 1)}
    assert sentences(told)[0] == "a later complaint says the same, and is named"


def test_feedback_placed_by_hand() -> None:
    told = why(ACCEPTED, DELIVERED, feedback("abuse", "candidate"))
    assert decided(told) == ("delivered", 1)
    assert lost(told)[2] == ("only_receipt", 1)
    assert sentences(told)[2] == "placed by hand: it only shows receipt"
    assert lost(why(feedback("abuse"), feedback("fraud", "candidate"))) == {1: ("less_sure", 0)}


def test_privacy_proxy_only() -> None:
    told = why(ACCEPTED, DELIVERED, opened("prefetched"), opened("bot"), opened("unknown"))
    assert decided(told) == ("delivered", 1)
    assert told.notes == ("opened by a privacy proxy",)
    assert lost(told) == {0: ("outranked", 1), 2: ("no_reader", 1), 3: ("no_reader", 1), 4: ("no_reader", 1)}
    assert sentences(told)[2] == "opened by a privacy proxy: it shows receipt, and no reader"


def test_tracking_off_with_a_reply() -> None:
    told = why(ACCEPTED.model_copy(update={"track_opens": "off"}), DELIVERED, Replied(), Replied())
    assert decided(told) == ("read", 2)
    assert told.deciding == Evidence(UUID(int=2), "replied", START + timedelta(minutes=2))
    assert lost(told) == {0: ("outranked", 2), 1: ("outranked", 2), 3: ("repeated", 2)}
    assert sentences(told)[1] == "a later answer outranks it"


def test_an_answer_after_an_open_says_the_same() -> None:
    told = why(ACCEPTED, opened("person"), Replied())
    assert decided(told) == ("read", 1)
    assert lost(told)[2] == ("agrees", 1)
    assert sentences(told)[2] == "an earlier open by a person says the same, and is named"


@pytest.mark.parametrize(
    ("settling", "status", "further"),
    [
        (Delivered(origin="dsn"), "delivered", ["unknown", "deferred", "queued"]),
        (bounced("hard"), "hard_bounce", ["unknown", "deferred", "queued"]),
        (opened("person"), "read", ["delivered", "unknown", "deferred", "queued"]),
        (opened("prefetched"), "delivered", ["unknown", "deferred", "queued"]),
        (Replied(), "read", ["delivered", "unknown", "deferred", "queued"]),
        (EXPIRED_UNSURE, "failed", ["unknown", "deferred", "queued"]),
    ],
    ids=["a DSN", "a DSN that it failed", "an open", "a privacy proxy", "a reply", "expiry"],
)
def test_an_unknown_outcome_settled_later_by(settling: Data, status: Status, further: list[Status]) -> None:
    told = why(ACCEPTED, deferred(), UNSURE, settling)
    assert decided(told) == (status, 3)
    assert lost(told) == {0: ("outranked", 3), 1: ("superseded", 2), 2: ("outranked", 3)}
    assert [row.status for row in told.runners_up] == further


def test_an_unknown_outcome_that_is_tried_again() -> None:
    told = why(ACCEPTED, UNSURE, deferred())
    assert decided(told) == ("deferred", 2)
    assert lost(told) == {0: ("outranked", 2), 1: ("superseded", 2)}


def test_expiry_of_what_was_received() -> None:
    told = why(ACCEPTED, UNSURE, EXPIRED_UNSURE, opened("bot"))
    assert decided(told) == ("delivered", 3)
    assert lost(told) == {0: ("outranked", 3), 1: ("outranked", 3), 2: ("was_received", 3)}
    assert sentences(told)[2] == "a later open by a program shows that the message was received"


def test_dead_forward_after_read() -> None:
    told = why(ACCEPTED, DELIVERED, opened("person"), bounced("hard", forwarded_to="bob@example.net"))
    assert decided(told) == ("read", 2)
    assert told.notes == ("refused at an address that it was forwarded to",)
    assert lost(told)[3] == ("was_read", 2)
    assert sentences(told)[3] == "an earlier open by a person shows that the message was read"


def test_cancelled_too_late() -> None:
    told = why(ACCEPTED, CANCELLED, DELIVERED)
    assert decided(told) == ("delivered", 2)
    assert told.notes == ("cancelled too late",)
    assert lost(told)[1] == ("was_received", 2)
    assert sentences(told)[1] == "a later delivery shows that the message was received"


def test_rejected_but_opened() -> None:
    told = why(ACCEPTED, REJECTED, opened("unknown"), opened("person"))
    assert decided(told) == ("read", 3)
    assert lost(told) == {0: ("outranked", 3), 1: ("was_received", 2), 2: ("no_reader", 3)}
    assert sentences(told)[1] == "a later open by an unknown client shows that the message was received"


def test_opened_after_a_withdrawal() -> None:
    told = why(ACCEPTED, DELIVERED, WITHDRAWN, opened("person"), WITHDRAWN)
    assert decided(told) == ("delivered", 1)
    assert lost(told) == {0: ("outranked", 1), 2: ("no_outcome", None), 3: ("withheld", 2), 4: ("no_outcome", None)}


def test_what_says_nothing_of_the_delivery() -> None:
    changed = StatusChanged(status="queued", version=1)
    told = why(ACCEPTED, feedback("opt-out"), changed)
    assert lost(told) == {1: ("other_mail", None), 2: ("no_outcome", None)}
    told = why(feedback("opt-out"), changed, WITHDRAWN, opened("person"))
    assert decided(told) == ("queued", None)
    assert lost(told)[3] == ("withheld", 2)


def test_several_bounces() -> None:
    told = why(bounced("hard"), bounced(), bounced("hard"), EXPIRED_UNSURE)
    assert decided(told) == ("hard_bounce", 0)
    assert lost(told) == {1: ("less_grave", 0), 2: ("repeated", 0), 3: ("less_grave", 0)}


def test_of_the_same_time() -> None:
    events = [about(data, id=UUID(int=n), time=START) for n, data in enumerate((DELIVERED, DELIVERED, Replied()))]
    told = subject.explain(events)
    assert lost(told) == {0: ("outranked", 2), 1: ("simultaneous", 0)}
    assert sentences(told)[0] == "a simultaneous answer outranks it"


def test_of_events_with_the_same_id_the_first_counts() -> None:
    answers = [about(Delivered(response=words, origin="smtp"), id=UUID(int=0), time=START) for words in ("ok", "no")]
    told = subject.explain(answers)
    assert told.deciding
    assert (told.deciding.text, told.others) == ("ok", ())


def test_erased() -> None:
    told = why(ACCEPTED, bounced(diagnostic="550 no alice"), Erased(by="a clerk", address_key="4f2a"))
    assert told.deciding
    assert (told.deciding.text, told.cause) == (ERASED, f"mailbox full: {ERASED}")
    told = why(ACCEPTED, bounced(), Erased(by="a clerk", address_key="4f2a"))
    assert told.deciding
    assert told.deciding.text is None


def test_the_answer_as_json() -> None:
    told = json.loads(to_json(why(ACCEPTED, CANCELLED, bounced("hard", smtp_code=550))))
    assert told["status"] == "hard_bounce"
    assert (told["deciding"]["event_id"], told["deciding"]["smtp_code"]) == (str(UUID(int=2)), 550)
    assert told["runners_up"][0]["status"] == "cancelled"
    assert told["others"][1] == {
        "event_id": str(UUID(int=1)),
        "name": "cancelled",
        "time": "2026-01-01T12:01:00Z",
        "effect": "outranked",
        "sentence": "a later bounce outranks it",
        "lost_to": str(UUID(int=2)),
    }
