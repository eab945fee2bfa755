"""What is told of a change is an event like any other."""

from __future__ import annotations

import json

import pytest

from status_store.changes import told
from status_store.store import Change
from tests.unit.samples import MESSAGE, NOON
from tracepost import events
from tracepost.events import StatusChanged, derived_id, event


@pytest.mark.parametrize("reference", ["T-1", 'Ärger "4711"', "", None])
@pytest.mark.parametrize("app", ["helpdesk", None])
def test_it_is_the_event_that_the_models_make(reference: str | None, app: str | None) -> None:
    rollup = {"status": "read", "shown_as": "Read (2 of 3)", "counts": {"read": 2, "delivered": 1}}
    data = StatusChanged(status="read", version=7, reference=reference, app=app, rollup=rollup)
    made = event("status-store", MESSAGE, None, data, id=derived_id(MESSAGE, 7), time=NOON)
    by_hand = told(Change(str(MESSAGE), "read", 7, reference, app, json.dumps(rollup)), NOON)
    assert events.decode(by_hand) == made
    assert json.loads(by_hand) == json.loads(events.encode(made))
