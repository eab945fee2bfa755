"""A message is told as its description says, whatever has become of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from status_store import point
from status_store.answers import MessageWhole
from status_store.fold import fold, from_json, to_json
from status_store.point import Point, etag
from status_store.rollup import rolled_up
from status_store.standing import status
from tests.unit.histories import MESSAGE, histories
from tests.unit.samples import modest
from tracepost.events import AnyEvent

TIME = "2026-03-04T12:30:15.123456Z"


def row(said: str, rollup: str, recipients: int) -> dict[str, Any]:
    """As the database tells it."""
    nothing = dict.fromkeys(("described_by", "app", "reference", "sender", "subject", "rfc_message_id"))
    return {
        "message_id": str(MESSAGE),
        "version": 7,
        "known_since": TIME,
        "changed_at": TIME,
        "recipient_count": recipients,
        "status": said,
        "rollup": json.loads(rollup),
        "tags": [],
        "metadata": {},
        **nothing,
    }


@modest
@given(st.lists(histories(), max_size=3))
def test_it_is_what_the_description_says(told: list[list[AnyEvent]]) -> None:
    known = {number: from_json(to_json(fold(events))) for number, events in enumerate(told)}
    said, rollup = rolled_up(tuple(sorted(status(each).status for each in known.values())), len(known))
    words = json.loads(rollup)["shown_as"]
    found = Point("app", 7, words, json.dumps(row(said, rollup, len(known))), known)
    body = json.loads(point.told(found))
    assert body == MessageWhole.model_validate(body).model_dump(mode="json")
    assert [each["status"] for each in body["deliveries"]] == [status(each).status for each in known.values()]
    assert (body["shown_as"], etag(found)) == (words, '"7"')
