"""Events are CloudEvents in JSON, read back as they were, and tolerant of what is added later."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.samples import DATA, MESSAGE, NOON, modest, sample
from tracepost import events
from tracepost.events import (
    AnyEvent,
    Bounced,
    Data,
    Delivered,
    Erased,
    Replied,
    decode,
    derived_id,
    encode,
    event,
    join,
)

REQUIRED = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}

every_kind = pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)


def attributes(data: Data = DATA[4], /, **changes: Any) -> dict[str, Any]:
    """The attributes of an event, some changed; None leaves one out."""
    whole = json.loads(encode(sample(data))) | changes
    return {name: value for name, value in whole.items() if value is not None}


def read(**changes: Any) -> AnyEvent:
    return decode(json.dumps(attributes(**changes)))


def test_every_kind_of_event_has_a_sample() -> None:
    kinds = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(AnyEvent)[0])}
    assert {sample(data).type for data in DATA} == kinds


@every_kind
def test_an_event_has_the_attributes_of_cloudevents(data: Data) -> None:
    document = json.loads(encode(sample(data)))
    assert document.keys() == REQUIRED
    assert (document["specversion"], document["datacontenttype"]) == ("1.0", "application/json")
    assert document["source"] == "/tracepost/sender"
    assert document["type"] == f"tracepost.{sample(data).name}.v1"
    assert document["subject"].startswith(str(MESSAGE))
    assert document["time"] == "2026-03-04T12:30:15.123456Z"


@every_kind
def test_an_event_reads_back_as_it_was(data: Data) -> None:
    told = sample(data, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    again = decode(encode(told))
    assert again == told
    assert type(again.data) is type(data)


@every_kind
def test_fields_that_are_not_known_are_ignored(data: Data) -> None:
    document = attributes(data) | {"dataschema": "later", "extension": 1}
    document["data"] = document["data"] | {"of_a_later_version": {"a": [1]}}
    told = decode(json.dumps(document))
    assert told.data == data
    assert not hasattr(told, "extension")


@every_kind
def test_an_event_cannot_be_changed(data: Data) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        sample(data).source = "/another"  # type: ignore[misc]  # that is what is tested
    for field in type(data).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(data, field, None)


def test_optional_fields_that_are_not_set_are_left_out() -> None:
    document = json.loads(encode(sample(Bounced(bounce_class="soft", category="other", origin="dsn"))))
    assert "traceparent" not in document
    assert "remote_mta" not in document["data"]


def test_the_name_is_the_routing_key() -> None:
    assert [sample(data).name for data in DATA] == [
        "accepted",
        "rejected",
        "deferred",
        "delivered",
        "bounced",
        "complained",
        "opened",
        "replied",
        "cancelled",
        "withdrawn",
        "erased",
        "status-changed",
    ]


def test_the_subject_names_the_delivery_or_the_message() -> None:
    assert (sample(DATA[4]).message_id, sample(DATA[4]).recipient_no) == (MESSAGE, 1)
    whole = event("status-store", MESSAGE, None, DATA[-1])
    assert (whole.subject, whole.message_id) == (str(MESSAGE), MESSAGE)
    with pytest.raises(ValueError, match="invalid literal"):
        _ = whole.recipient_no


def test_an_erased_event_may_be_about_a_bare_address() -> None:
    told = decode(json.dumps(attributes(DATA[10], subject="recipient/00ff")))
    assert isinstance(told.data, Erased)
    with pytest.raises(ValueError, match="badly formed"):
        _ = told.message_id


def test_an_event_is_new_and_of_now_unless_said_otherwise() -> None:
    before = datetime.now(UTC)
    one, other = event("pixel", MESSAGE, 0, Replied()), event("pixel", MESSAGE, 0, Replied())
    assert one.id != other.id
    assert one.id.version == 7
    assert before <= one.time <= datetime.now(UTC)


def test_time_is_utc_whatever_zone_it_came_in() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    told = sample(Replied(), time=NOON.astimezone(zone))
    assert told.time.tzinfo is UTC
    assert json.loads(encode(told))["time"] == "2026-03-04T12:30:15.123456Z"
    assert read(time="2026-03-04T18:00:15+05:30").time == datetime(2026, 3, 4, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"id": "7"},
        {"id": None},
        {"source": None},
        {"type": "tracepost.bounced.v2"},
        {"type": "tracepost.clicked.v1"},
        {"type": None},
        {"subject": None},
        {"subject": "ann@example.org"},
        {"subject": f"{MESSAGE}/"},
        {"subject": f"{MESSAGE}/x"},
        {"subject": f"{MESSAGE}/-1"},
        {"subject": f"{MESSAGE}/1/1"},
        {"subject": f"{MESSAGE}/1\n"},
        {"subject": f" {MESSAGE}/1"},
        {"subject": f"{{{MESSAGE}}}/1"},
        {"subject": "recipient/"},
        {"subject": f"recipient/{'a' * 129}"},
        {"source": ""},
        {"time": "2026-03-04T12:30:15"},
        {"time": "yesterday"},
        {"time": None},
        {"datacontenttype": "text/xml"},
        {"data": None},
        {"data": []},
        {"data": {}},
        {"data": {"bounce_class": "hard", "category": "c"}},
        {"data": {"bounce_class": "hardest", "category": "c", "origin": "dsn"}},
        {"data": {"bounce_class": "hard", "category": "c", "origin": "webhook:"}},
        {"data": {"bounce_class": "hard", "category": "c", "origin": "rumour"}},
        {"data": {"bounce_class": "hard", "category": "c", "origin": "dsn", "smtp_code": 50}},
        {"data": {"bounce_class": "hard", "category": "c", "origin": "dsn", "enhanced_code": "5.1"}},
        {"data": {"bounce_class": "hard", "category": "c", "origin": "dsn", "certainty": "maybe"}},
    ],
)
def test_what_breaks_the_contract_is_refused(changes: dict[str, Any]) -> None:
    assert read()
    with pytest.raises(ValidationError):
        read(**changes)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"{", b"\xff", b'"text"'])
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(ValidationError):
        decode(raw)


def test_a_recipient_number_has_one_byte_and_one_spelling() -> None:
    for number in range(256):
        assert read(subject=f"{MESSAGE}/{number}").recipient_no == number
    for spelling in ("256", "300", "999", "1000", "00", "01", "+1", "1 "):
        with pytest.raises(ValidationError):
            read(subject=f"{MESSAGE}/{spelling}")


def test_a_recipient_number_is_written_in_ascii() -> None:
    with pytest.raises(ValidationError):
        read(subject=f"{MESSAGE}/\N{ARABIC-INDIC DIGIT THREE}")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_is_refused_as_any_other_fault(time: str) -> None:
    with pytest.raises(ValidationError):
        read(time=time)


# what PostgreSQL does not take


@modest
@given(st.text())
def test_a_remote_servers_words_survive_but_for_u0000(words: str) -> None:
    told = decode(encode(sample(Delivered(origin="smtp", response=words, remote_mta=words))))
    assert isinstance(told.data, Delivered)
    assert told.data.response == told.data.remote_mta == words.replace("\0", "\ufffd")


def test_u0000_is_replaced_in_keys_and_lists_too() -> None:
    told = sample(DATA[0].model_copy()).data.model_dump() | {"metadata": {"\0": "\0"}, "tags": ["\0"]}
    assert type(DATA[0]).model_validate(told).model_dump(include={"metadata", "tags"}) == {
        "metadata": {"\ufffd": "\ufffd"},
        "tags": ("\ufffd",),
    }


@pytest.mark.parametrize("words", ["250 2.0.0 \udcfcber", "\ud800", "\udfff\ud800", "\0\udcff"])
def test_lone_surrogates_are_replaced_in_a_remote_servers_words(words: str) -> None:
    told = decode(encode(sample(Delivered(origin="smtp", response=words))))
    assert isinstance(told.data, Delivered)
    assert len(told.data.response) == len(words)
    assert not set("\0\ud800\udfff\udcfc\udcff") & set(told.data.response)


@pytest.mark.parametrize(
    "changes",
    [
        {"traceparent": "\0"},
        {"source": "/\0"},
        {"subject": "recipient/\0"},
        {"data": {"bounce_class": "hard", "category": "\0", "origin": "dsn"}},
        {"data": {"bounce_class": "hard", "category": "c", "origin": "dsn", "rule": "\0"}},
    ],
)
def test_u0000_stands_in_no_attribute(changes: dict[str, Any]) -> None:
    try:
        told = read(**changes)
    except ValidationError:
        return
    assert b"\\u0000" not in encode(told)


# ids


def test_a_derived_id_is_the_same_in_every_version() -> None:
    # Another value here would make every report that comes again an event of its own.
    assert derived_id("digest", MESSAGE, 1, "ann@example.org", "Bounced") == UUID(
        "9b4bd4b4-6064-5278-85c4-823363d8935a"
    )


@modest
@given(st.lists(st.text(st.characters(categories=["L", "N", "P"])), min_size=1), st.integers(0, 255))
def test_derived_ids_are_equal_for_equal_parts_alone(parts: list[str], number: int) -> None:
    same = derived_id(*parts, number)
    assert derived_id(*parts, number) == same
    others = [derived_id(*parts, number + 1), derived_id(*parts), derived_id(*parts, ""), derived_id(*parts, number, 0)]
    others += [derived_id("".join([*parts, str(number)]))]
    assert same not in others
    assert same.version == 5


# batches


@modest
@given(st.lists(st.sampled_from(DATA), max_size=8))
def test_joined_events_are_a_batch_in_order(chosen: list[Data]) -> None:
    told = [sample(data, id=uuid4()) for data in chosen]
    elements = json.loads(join(map(encode, told)))
    assert [decode(json.dumps(element)) for element in elements] == told


def test_the_content_types_are_those_of_cloudevents() -> None:
    assert events.EVENT_TYPE == "application/cloudevents+json"
    assert events.BATCH_TYPE == "application/cloudevents-batch+json"
