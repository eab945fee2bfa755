"""Delivery events: CloudEvents 1.0 in JSON, one model of `data` per event type."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import NAMESPACE_URL, UUID

import uuid_utils
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    TypeAdapter,
)
from pydantic_core import core_schema
from pydantic_core import from_json as python_from_json
from uuid_utils.compat import uuid7

from tracepost.bounces.values import BounceClass as BounceClass
from tracepost.bounces.values import FeedbackType as FeedbackType

EVENT_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"


_NAMESPACE = uuid_utils.UUID(str(NAMESPACE_URL))  # uuid5 of the standard library takes seven times as long

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The text as PostgreSQL takes it: without U+0000 and lone surrogates, which a remote server's words may hold."""
    return text if text.isascii() and "\0" not in text else _NOT_STORABLE.sub("\ufffd", text)


_NO_OFFSET = timedelta(0)


def _utc(time: datetime) -> datetime:
    try:
        return time if time.utcoffset() == _NO_OFFSET else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of the years 1 to 9999 in UTC") from None


class _Storable:
    """Makes a string storable when it comes from Python; JSON with such a string is not read as JSON, see `decode`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        plain = handler(source)
        cleaned = core_schema.no_info_before_validator_function(cls._clean, plain)
        # A call for every string would be half of what it costs to read an event.
        return core_schema.json_or_python_schema(json_schema=plain, python_schema=cleaned)

    @staticmethod
    def _clean(value: object) -> object:
        return storable(value) if isinstance(value, str) else value


Words = Annotated[str, _Storable]
Utc = Annotated[AwareDatetime, AfterValidator(_utc)]
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BYTE = r"([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_SUBJECT = rf"^({_UUID}(/{_BYTE})?|recipient/[\x21-\x7e]{{1,128}})$"
EnhancedCode = Annotated[str, StringConstraints(pattern=r"^[245]\.\d{1,3}\.\d{1,3}$")]

Certainty = Literal["exact", "candidate"]
Origin = Annotated[str, StringConstraints(pattern=r"^(smtp|dsn|arf|mdn|api|webhook:[a-z0-9-]+)$")]
RejectionReason = Literal["hard_bounce", "soft_bounces", "spam_complaint", "unsubscribed", "manual"]
Tracking = Literal["off", "day", "full"]
Verdict = Literal["person", "proxied", "prefetched", "bot", "unknown"]


class Data(BaseModel):
    """What one event says; a consumer ignores fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Accepted(Data):
    """The sender has taken responsibility for this recipient's copy."""

    recipient: Words
    recipient_count: Annotated[int, Field(ge=1, le=256)]
    sender: Words
    subject_line: Words
    rfc_message_id: Words
    app: Words
    reference: Words | None = None
    tags: tuple[Words, ...] = ()
    metadata: dict[Words, Words] = {}
    track_opens: Tracking
    has_html: bool
    size: Annotated[int, Field(ge=0)]
    override_suppression: Words | None = Field(None, description="why it is sent to suppressed addresses too")


class Rejected(Data):
    """Not tried: the address stands on the suppression list, for the evidence named here."""

    reason: RejectionReason
    evidence_event: UUID | None = None
    evidence_message: UUID | None = None
    since: Utc
    until: Utc | None = None


class Refusal(Data):
    """What a remote server said when it did not take a message, and what we make of it."""

    attempt: int | None = None
    smtp_code: Annotated[int, Field(ge=200, le=599)] | None = None
    enhanced_code: EnhancedCode | None = None
    diagnostic: Words = ""
    remote_mta: Words | None = None
    bounce_class: BounceClass
    category: Words
    rule: Words | None = None
    origin: Origin
    outcome_unknown: bool = False


class Deferred(Refusal):
    """Not delivered yet; tried again at `next_attempt_at`, or parked for a person to decide."""

    next_attempt_at: Utc | None = None
    parked: bool = False


class Bounced(Refusal):
    """Given up, by the remote server or by us; `forwarded_to` names a dead forward behind the recipient."""

    certainty: Certainty = "exact"
    forwarded_to: Words | None = None


class Delivered(Data):
    """A receiving mail server accepted the message; it may still process it further."""

    attempt: int | None = None
    smtp_code: int | None = None
    enhanced_code: EnhancedCode | None = None
    response: Words = ""
    remote_mta: Words | None = None
    remote_ip: Words | None = None
    tls: Words | None = None
    duration: float | None = None
    origin: Origin


class Complained(Data):
    """The recipient's provider passed on a complaint, or took one back (`not-spam`)."""

    feedback_type: FeedbackType
    reporter: Words | None = None
    certainty: Certainty = "exact"
    origin: Origin


class Opened(Data):
    """The pixel was loaded, by the kind of client that `verdict` names; `ip` is cut to /24 or /48.

    With the origin `mdn`: the recipient's mail client reported that it displayed the message (RFC 8098).
    """

    verdict: Verdict
    rule: Words
    client: Words | None = None
    ip: Words | None = None
    origin: Origin | None = None


class Replied(Data):
    """The recipient answered, as the help desk reports; proves Read."""


class Decision(Data):
    """Something a person or a system decided about a delivery."""

    by: Words
    reason: Words | None = None


class Cancelled(Decision):
    """Sending was called off."""


class Withdrawn(Decision):
    """The recipient withdrew the consent to open tracking: later opens do not count."""


class Erased(Decision):
    """Personal data of this recipient must go; `address_key` is the keyed hash of the address."""

    address_key: Words


class StatusChanged(Data):
    """The newest status of a message, by version; consumers ignore lower versions."""

    status: Words
    version: int
    reference: Words | None = None
    app: Words | None = None
    rollup: dict[str, Any] = {}


Type = TypeVar("Type", bound=str)
Body = TypeVar("Body", bound=Data)


class Event(BaseModel, Generic[Type, Body]):
    """A CloudEvent; `subject` is `<message_id>/<recipient_no>` (a status: `<message_id>`), `time` is UTC."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    specversion: Literal["1.0"]
    id: UUID
    source: Annotated[str, StringConstraints(min_length=1), _Storable]
    type: Type
    subject: Annotated[str, StringConstraints(pattern=_SUBJECT)]
    time: Utc
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: Words | None = None
    data: Body

    @cached_property
    def message_id(self) -> UUID:
        """The message that the event is about; ValueError for an event about a bare address."""
        return UUID(self.subject.partition("/")[0])

    @cached_property
    def recipient_no(self) -> int:
        """The index of the recipient in to + cc + bcc; ValueError for an event about a message whole."""
        return int(self.subject.partition("/")[2])

    @property
    def name(self) -> str:
        """The event's short name and routing key, e.g. `delivered`."""
        return self.type.split(".")[1]


AnyEvent = Annotated[
    Event[Literal["tracepost.accepted.v1"], Accepted]
    | Event[Literal["tracepost.rejected.v1"], Rejected]
    | Event[Literal["tracepost.deferred.v1"], Deferred]
    | Event[Literal["tracepost.delivered.v1"], Delivered]
    | Event[Literal["tracepost.bounced.v1"], Bounced]
    | Event[Literal["tracepost.complained.v1"], Complained]
    | Event[Literal["tracepost.opened.v1"], Opened]
    | Event[Literal["tracepost.replied.v1"], Replied]
    | Event[Literal["tracepost.cancelled.v1"], Cancelled]
    | Event[Literal["tracepost.withdrawn.v1"], Withdrawn]
    | Event[Literal["tracepost.erased.v1"], Erased]
    | Event[Literal["tracepost.status-changed.v1"], StatusChanged],
    Field(discriminator="type"),
]

_any: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
_types: dict[type[Data], str] = {
    Accepted: "accepted",
    Rejected: "rejected",
    Deferred: "deferred",
    Delivered: "delivered",
    Bounced: "bounced",
    Complained: "complained",
    Opened: "opened",
    Replied: "replied",
    Cancelled: "cancelled",
    Withdrawn: "withdrawn",
    Erased: "erased",
    StatusChanged: "status-changed",
}


def event(
    service: str,
    message_id: UUID | str,
    recipient_no: int | None,
    data: Data,
    *,
    id: UUID | None = None,  # noqa: A002 - the attribute's name in CloudEvents
    time: datetime | None = None,
    traceparent: str | None = None,
) -> AnyEvent:
    """Make an event of this service about a delivery, or a message whole; `id` and `time` default to new ones."""
    return _any.validate_python(
        {
            "specversion": "1.0",
            "id": id or uuid7(),
            "source": f"/tracepost/{service}",
            "type": f"tracepost.{_types[type(data)]}.v1",
            "subject": str(message_id) if recipient_no is None else f"{message_id}/{recipient_no}",
            "time": time or datetime.now(UTC),
            "traceparent": traceparent,
            "data": data,
        }
    )


def derived_id(*parts: object) -> UUID:
    """The same id for the same parts: for inputs that can come twice (name the input *and* the recipient)."""
    return UUID(derived_text(*parts))


def derived_text(*parts: object) -> str:
    """The same as text."""
    return str(uuid_utils.uuid5(_NAMESPACE, storable("tracepost:" + "\x1f".join(map(str, parts)))))


def text(item: AnyEvent) -> str:
    """One event as JSON, unset optional fields left out."""
    return item.model_dump_json(exclude_none=True)


def encode(item: AnyEvent) -> bytes:
    """The same as bytes."""
    return text(item).encode()


def decode(body: bytes | str) -> AnyEvent:
    """One event from JSON; pydantic.ValidationError names every fault."""
    if has_nul(body):
        return _any.validate_python(python_from_json(body))
    return _any.validate_json(body)


def has_nul(body: bytes | str) -> bool:
    """Whether JSON may hold U+0000 in a string: then it is read in Python, by `decode`, and made storable."""
    return "\\u0000" in body if isinstance(body, str) else b"\\u0000" in body


def join(encoded: Iterable[bytes]) -> bytes:
    """Encoded events as one body in the JSON batch format."""
    return b"[" + b",".join(encoded) + b"]"
