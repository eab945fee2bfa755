"""What an operator's wish does to a delivery, state by state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from sender.operating import Decision, Held, Result, State, cancel, give_up, retry
from tracepost.events import Bounced, Cancelled
from tracepost.problems import Invalid

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HELD = Held(UUID(int=7), 0, "shop", "ready", 3, NOW, NOW + timedelta(hours=1), False, "trace", False)
WHY = Decision("ann", "cancel", "wrong person")


def held(*states: State) -> list[Held]:
    return [replace(HELD, recipient_no=number, state=state) for number, state in enumerate(states)]


def test_cancel_answers_for_each_recipient_and_tells_of_those_that_are_called_off() -> None:
    change = cancel(held("ready", "waiting", "leased", "parked", "in_doubt", "done"), WHY)
    assert list(change.results.values()) == [*["cancelled"] * 4, "too_late", "done_before"]
    assert change.changed == [0, 1, 2, 3]
    assert {each.data for each in change.told} == {Cancelled(by="ann", reason="wrong person")}
    assert {each.traceparent for each in change.told} == {"trace"}
    assert len({each.id for each in change.told}) == 4


@pytest.mark.parametrize("unknown", [True, False])
def test_what_is_given_up_is_told_as_expired(unknown: bool) -> None:
    [told] = give_up([replace(HELD, state="parked", outcome_unknown=unknown)], WHY).told
    assert isinstance(told.data, Bounced)
    assert (told.data.category, told.data.rule, told.data.origin) == ("expired", "given-up", "api")
    assert (told.data.attempt, told.data.outcome_unknown) == (3, unknown)
    assert told.data.diagnostic == "given up by ann: wrong person"


def test_what_is_in_doubt_is_not_given_up() -> None:
    with pytest.raises(Invalid, match="due_at"):
        give_up(held("in_doubt"), WHY)


@pytest.mark.parametrize(
    ("state", "result"),
    [("ready", "ready_before"), ("leased", "under_way"), ("waiting", "ready"), ("parked", "ready")],
)
def test_retry_makes_ready_what_is_not_under_way(state: State, result: Result) -> None:
    [one] = held(state)
    change = retry(one, NOW)
    assert change.results == {0: result}
    assert change.changed == ([0] if result == "ready" else [])


@pytest.mark.parametrize(("state", "code"), [("in_doubt", "in-doubt"), ("done", "done")])
def test_retry_refuses_what_may_be_delivered(state: State, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        retry(held(state)[0], NOW)
    assert (refused.value.problem.code, refused.value.problem.status) == (code, 409)


@pytest.mark.parametrize("state", ["waiting", "parked"])
def test_retry_refuses_what_has_expired(state: State) -> None:
    [one] = held(state)
    with pytest.raises(Invalid, match="2026-05-01T01:00:00Z; give it up"):
        retry(one, one.expires_at)
