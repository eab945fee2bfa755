"""What a badge says: causes in words, notes, and no address whole."""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from importlib.resources import files
from typing import Any, get_args

import pytest
from pydantic_core import to_json

from status_store.badge import badge
from status_store.fold import fold
from status_store.rollup import rollup
from status_store.standing import status
from status_store.words import CAUSES, cause_text
from tests.unit.samples import ACCEPTED, DELIVERED, MESSAGE, NOON, RETURNED
from tracepost.events import (
    Cancelled,
    Complained,
    Data,
    Deferred,
    Erased,
    FeedbackType,
    Opened,
    Rejected,
    RejectionReason,
    event,
)


def shown(*told: Data | tuple[int, Data]) -> dict[str, Any]:
    """The badge of a message to one recipient; a number before an event is the minutes after its acceptance."""
    timed = [each if isinstance(each, tuple) else (0, each) for each in told]
    known = fold([event("t", MESSAGE, 0, data, time=NOON + timedelta(minutes=minutes)) for minutes, data in timed])
    rolled = json.loads(to_json(rollup([status(known).status], 1)))
    row = {"message_id": str(MESSAGE), "version": 3, "status": rolled["status"], "rollup": rolled, "recipient_count": 1}
    return badge(row, {0: known})


def codes(delivery: dict[str, Any]) -> list[str]:
    return [note["code"] for note in delivery["notes"]]


def test_what_was_delivered_and_then_returned_says_how_much_later() -> None:
    told = shown(ACCEPTED, (1, DELIVERED), (241, RETURNED))
    [delivery] = told["deliveries"]
    assert (told["status"], told["counts"]) == ("hard_bounce", {"recipients": 1, "read": 0, "hard_bounce": 1})
    assert delivery["cause_text"] == "The address does not exist."
    assert delivery["notes"][0] == {
        "code": "returned_later",
        "text": "delivered, then returned 4 h later",
        "seconds": 14_400,
    }
    assert (delivery["delivered_at"], delivery["failed_at"]) == (
        NOON + timedelta(minutes=1),
        NOON + timedelta(minutes=241),
    )


def test_no_address_is_whole() -> None:
    refused = RETURNED.model_copy(update={"diagnostic": "550 <Ann@example.org>: unknown, try bob@example.net"})
    [delivery] = shown(ACCEPTED, refused)["deliveries"]
    assert delivery["recipient"] == "a…@example.org"
    assert delivery["said"] == "550 <A…@example.org>: unknown, try b…@example.net"
    assert shown(ACCEPTED, refused, Erased(by="x", address_key="00"))["deliveries"][0]["recipient"] is None


def test_read_and_opened_by_a_proxy_are_told_apart() -> None:
    delivered = (1, DELIVERED)
    [proxy] = shown(ACCEPTED, delivered, (2, Opened(verdict="prefetched", rule="apple")))["deliveries"]
    assert (proxy["status"], proxy["read_at"], codes(proxy)) == ("delivered", None, ["processing", "prefetched"])
    [read] = shown(ACCEPTED, delivered, (2, Opened(verdict="person", rule="x")))["deliveries"]
    assert (read["status"], read["read_at"], codes(read)) == ("read", NOON + timedelta(minutes=2), [])


@pytest.mark.parametrize("off", [{"track_opens": "off"}, {"has_html": False}])
def test_that_nobody_would_see_an_open_is_told(off: dict[str, Any]) -> None:
    told = shown(ACCEPTED.model_copy(update=off), DELIVERED)
    assert told["read_tracking"] is False
    assert [note["code"] for note in told["notes"]] == ["tracking_off"]
    assert codes(told["deliveries"][0]) == ["processing", "tracking_off"]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (Deferred(bounce_class="soft", category="greylisted", origin="smtp"), "greylisted"),
        (Rejected(reason="unsubscribed", since=NOON), "suppressed_unsubscribed"),
        (Complained(feedback_type="abuse", origin="arf"), "complaint_abuse"),
        (Cancelled(by="ann"), "cancelled"),
        (DELIVERED, None),
    ],
)
def test_a_cause_has_a_code_and_words(data: Data, cause: str | None) -> None:
    [delivery] = shown(ACCEPTED, (1, data))["deliveries"]
    assert (delivery["cause"], delivery["cause_text"]) == (cause, CAUSES[cause] if cause else None)


def test_every_cause_has_words() -> None:
    classes = tomllib.loads(files("tracepost.bounces").joinpath("classes.toml").read_text("utf-8"))["classes"]
    categories = {category for each in classes.values() for category in each}
    reasons = {f"suppressed_{reason}" for reason in get_args(RejectionReason)}
    complaints = {f"complaint_{kind}" for kind in get_args(FeedbackType)} - {"complaint_not-spam", "complaint_opt-out"}
    assert categories | reasons | complaints | {"cancelled"} == CAUSES.keys()
    assert cause_text("of a later version") == CAUSES["other"]
