"""What the queue's API understands, and how it counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sender.listing import CancelWish, Deliveries, PauseWish, Place, Run, totals

RUNS: tuple[Run, ...] = ("normal", "bulk", "timed", "parked")


@given(st.sampled_from(RUNS), st.datetimes(timezones=st.just(UTC)), st.uuids(), st.integers(0, 255))
def test_a_cursor_leads_back_to_its_place(run: Run, due_at: datetime, message_id: UUID, number: int) -> None:
    place = Place(run=run, destination="example.org", due_at=due_at, message_id=message_id, recipient_no=number)
    assert Deliveries.model_validate({"cursor": place.cursor}).places[0] == place


@pytest.mark.parametrize("cursor", ["", "x", "e30=", "ÿ", Place(run="normal").cursor[:-5]])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError, match="no cursor of ours"):
        Deliveries.model_validate({"cursor": cursor})


@pytest.mark.parametrize(
    ("state", "runs"),
    [(None, RUNS), ("ready", RUNS[:2]), ("waiting", RUNS[2:3]), ("in_doubt", RUNS[2:3]), ("parked", RUNS[3:])],
)
def test_only_runs_that_can_have_the_state_are_looked_at(state: Any, runs: tuple[Run, ...]) -> None:
    assert tuple(place.run for place in Deliveries(state=state).places) == runs
    cursor = Place(run=runs[0], recipient_no=3).cursor
    after = Deliveries.model_validate({"state": state, "cursor": cursor})
    assert tuple(place.run for place in after.places) == runs
    assert [place.recipient_no for place in after.places][:2] == [3, -1][: len(runs)]


def test_a_cursor_of_another_state_is_refused() -> None:
    with pytest.raises(ValidationError, match="another list"):
        Deliveries.model_validate({"state": "parked", "cursor": Place(run="normal").cursor})


@pytest.mark.parametrize(
    ("written", "meant"),
    [("*", "*"), ("Example.ORG", "example.org"), (" bücher.example ", "xn--bcher-kva.example")],
)
def test_a_destination_is_taken_in_normal_form(written: str, meant: str) -> None:
    assert PauseWish(reason="why", destination=written).destination == meant


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\0b", "\ud800", None])
def test_a_change_without_a_reason_is_refused(reason: Any) -> None:
    with pytest.raises(ValidationError):
        CancelWish(reason=reason)


def test_totals_are_told_whole_and_say_where_there_may_be_more() -> None:
    rows = [
        {"part": "bulk", "lane": "bulk", "state": "ready", "looked": 10, "count": 4},
        {"part": "timed", "lane": "bulk", "state": "waiting", "looked": 6, "count": 6},
        {"part": "timed", "lane": "normal", "state": "leased", "looked": 3, "count": 1},
    ]
    told = {(each["lane"], each["state"]): (each["count"], each["at_least"]) for each in totals(rows, 10)}
    assert len(told) == 10
    assert told["bulk", "ready"] == (4, True)
    assert told["normal", "ready"] == (0, False)
    assert told["bulk", "waiting"] == (6, False)
    assert told["normal", "leased"] == (1, False)
    assert {state for (_, state), (_, more) in told.items() if more} == {"ready"}
