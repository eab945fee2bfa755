"""Events as they come from the broker: alone, or in a batch in which a bad element costs its neighbours nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.samples import DATA, incoming, sample, told
from tracepost.broker.consumer import Refused
from tracepost.broker.decoding import EVENTS
from tracepost.events import BATCH_TYPE, EVENT_TYPE, AnyEvent, Data, encode, join
from tracepost.problems import Invalid, Problem

GOOD = [sample(data) for data in DATA]
BROKEN: dict[str, Any] = json.loads(encode(GOOD[4])) | {"data": {"category": "c", "origin": "dsn"}}


def decoded(raw: bytes, content_type: str | None) -> list[AnyEvent | Refused]:
    return list(EVENTS.decode(incoming(raw, content_type)))


def whole_refused(raw: bytes, content_type: str | None) -> Problem:
    with pytest.raises(Invalid) as raised:
        decoded(raw, content_type)
    return raised.value.problem


def batch(*elements: object) -> bytes:
    return json.dumps(elements).encode()


def document(event: AnyEvent) -> Any:
    return json.loads(encode(event))


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
def test_a_message_may_be_one_event(data: Data) -> None:
    assert decoded(encode(sample(data, id=GOOD[0].id)), EVENT_TYPE) == [sample(data, id=GOOD[0].id)]


def test_a_message_may_be_a_batch_and_keeps_its_order() -> None:
    assert decoded(join(map(encode, GOOD)), BATCH_TYPE) == GOOD
    assert decoded(b"[]", BATCH_TYPE) == []


@pytest.mark.parametrize("content_type", [f"{EVENT_TYPE}; charset=utf-8", f"{EVENT_TYPE} ;charset=UTF-8"])
def test_parameters_of_the_content_type_do_not_matter(content_type: str) -> None:
    assert decoded(encode(GOOD[0]), content_type) == [GOOD[0]]


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "text/plain", "application/cloudevents", "x" * 255]
)
def test_another_content_type_is_refused_whole(content_type: str | None) -> None:
    problem = whole_refused(encode(GOOD[0]), content_type)
    assert (problem.code, problem.status) == ("unknown-content-type", 415)
    assert EVENT_TYPE in (problem.detail or "")


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"null", b"[]", b"{}", json.dumps(BROKEN).encode()])
def test_one_bad_event_is_set_apart_with_its_bytes_and_its_problem(raw: bytes) -> None:
    (element,) = decoded(raw, EVENT_TYPE)
    assert isinstance(element, Refused)
    assert (element.body, element.problem.code) == (raw, "invalid-event")
    assert element.problem.errors


@pytest.mark.parametrize(
    "bad",
    [BROKEN, {}, [], None, 5, "text", BROKEN | {"type": "tracepost.bounced.v2"}, {"big": 2**70, "pi": 3.25, "ä": "\0"}],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_element_costs_its_neighbours_nothing(bad: object, place: int) -> None:
    elements = [document(GOOD[0]), document(GOOD[4])]
    elements.insert(place, bad)
    found = decoded(batch(*elements), BATCH_TYPE)
    apart = found.pop(place)
    assert found == [GOOD[0], GOOD[4]]
    assert isinstance(apart, Refused)
    assert json.loads(apart.body) == bad
    assert apart.problem.code == "invalid-event"


def test_every_bad_element_of_a_batch_is_set_apart() -> None:
    found = decoded(batch(BROKEN, BROKEN, BROKEN), BATCH_TYPE)
    assert [type(each) for each in found] == [Refused] * 3


def test_a_time_beyond_the_calendar_costs_its_neighbours_nothing() -> None:
    bad = document(GOOD[4]) | {"time": "0001-01-01T00:00:00+14:00"}
    good, apart = decoded(batch(document(GOOD[0]), bad), BATCH_TYPE)
    assert good == GOOD[0]
    assert isinstance(apart, Refused)


def test_a_fault_of_an_event_is_named_by_its_pointer() -> None:
    (element,) = decoded(json.dumps(BROKEN).encode(), EVENT_TYPE)
    assert isinstance(element, Refused)
    assert told(element.problem).keys() == {"/data/bounce_class"}


@pytest.mark.parametrize("raw", [b"", b"[", b"\xff", b"[{]", b"[" * 5000])
def test_a_batch_that_is_no_json_is_refused_whole(raw: bytes) -> None:
    problem = whole_refused(raw, BATCH_TYPE)
    assert (problem.code, problem.title) == ("invalid-event", "The batch is not JSON")


@pytest.mark.parametrize("raw", [b"{}", b"null", b"5", encode(GOOD[0])])
def test_a_batch_that_is_no_array_is_refused_whole(raw: bytes) -> None:
    assert whole_refused(raw, BATCH_TYPE).title == "A batch is a JSON array of events"


def test_an_event_is_encoded_as_it_travels() -> None:
    assert EVENTS.encode(GOOD[0]) == encode(GOOD[0])
