"""Reads events from AMQP messages: one event, or a batch in which a bad element costs its neighbours nothing."""

from __future__ import annotations

from contextlib import suppress

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from tracepost import events
from tracepost.broker.consumer import Codec, Incoming, Refused
from tracepost.events import AnyEvent
from tracepost.problems import Invalid, Problem, from_validation

_batch: TypeAdapter[list[AnyEvent]] = TypeAdapter(list[AnyEvent])


def _decode(message: Incoming) -> list[AnyEvent | Refused]:
    match (message.content_type or "").partition(";")[0].strip():
        case events.EVENT_TYPE:
            return [_one(message.body)]
        case events.BATCH_TYPE:
            if not events.has_nul(message.body):
                with suppress(ValidationError):
                    return list(_batch.validate_json(message.body))
            return [_one(element) for element in _split(message.body)]
        case other:
            detail = f"the content type is {other!r}; send {events.EVENT_TYPE} or {events.BATCH_TYPE}"
            raise Invalid(Problem(code="unknown-content-type", title="Not an event", status=415, detail=detail))


def _one(body: bytes) -> AnyEvent | Refused:
    try:
        return events.decode(body)
    except ValidationError as error:
        problem = from_validation(error, "invalid-event", "The event cannot be understood", union=True)
        return Refused(body, problem, events.EVENT_TYPE)


def _split(body: bytes) -> list[bytes]:
    try:
        elements = from_json(body)
    except ValueError as error:
        raise Invalid(Problem(code="invalid-event", title="The batch is not JSON", detail=str(error))) from error
    if not isinstance(elements, list):
        raise Invalid(Problem(code="invalid-event", title="A batch is a JSON array of events"))
    return [to_json(element) for element in elements]


EVENTS: Codec[AnyEvent] = Codec(_decode, events.encode, events.EVENT_TYPE)
