"""The shapes of the API's answers, for its description and for who reads it; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from status_store.asked import Kind
from status_store.standing import Status
from status_store.why import Why
from tracepost.events import AnyEvent, BounceClass, Verdict
from tracepost.keys import Scope


class Rollup(BaseModel):
    """The status of a message, the rule that gave it, and how many deliveries have each status."""

    status: Status
    shown_as: str
    rule: str
    counts: dict[Status, int]


class Message(BaseModel):
    """A message; what describes it is null until its `accepted` is known."""

    message_id: UUID
    version: int = Field(description="rises with every change; an ETag")
    known_since: datetime
    changed_at: datetime
    recipient_count: int
    described_by: int | None
    status: Status
    shown_as: str
    rollup: Rollup
    app: str | None
    reference: str | None
    sender: str | None
    subject: str | None
    rfc_message_id: str | None
    tags: list[str]
    metadata: dict[str, str]


class Decided(BaseModel):
    """The rule that gave a status, and the event that decided."""

    rule: str
    event_id: UUID | None


class Opens(BaseModel):
    """The opens with one verdict."""

    first: datetime
    last: datetime
    count: int


class Delivery(BaseModel):
    """What is known of one recipient's copy."""

    recipient_no: int
    recipient: str | None
    read_tracking: bool
    status: Status
    shown_as: str
    cause: str | None
    notes: list[str]
    since: datetime | None
    why: Decided
    delivered_at: datetime | None
    opens: dict[Verdict, Opens]


class MessageWhole(Message):
    """A message with all its deliveries."""

    deliveries: list[Delivery]


class Messages(BaseModel):
    """A page, newest first; it may be short: go on until the cursor is null."""

    messages: list[Message]
    cursor: UUID | None


class Timeline(BaseModel):
    """Every event of a message, in the order of time."""

    events: list[AnyEvent]


class WhyTold(BaseModel):
    """Why a delivery has its status."""

    message_id: UUID
    recipient_no: int
    why: Why


class Note(BaseModel):
    """What is told beside a status: a code for programs, words for people."""

    code: str
    text: str
    seconds: int | None = Field(None, description="with `returned_later`: how much later")


class BadgeDelivery(BaseModel):
    """A recipient's copy as a browser may show it."""

    recipient_no: int
    recipient: str | None = Field(description="masked; null once erased, or where it is not known")
    status: Status
    shown_as: str
    cause: str | None = Field(description="a code, for words in other languages")
    cause_text: str | None
    said: str | None = Field(description="the remote server's own words")
    remote_mta: str | None
    read_tracking: bool
    notes: list[Note]
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None
    since: datetime | None


class Badge(BaseModel):
    """A message's status for a browser: no address is whole."""

    message_id: UUID
    version: int
    status: Status
    shown_as: str
    rule: str | None
    counts: dict[str, int] = Field(description="recipients, read, and every status that occurs")
    read_tracking: bool
    notes: list[Note]
    deliveries: list[BadgeDelivery]


class ViewToken(BaseModel):
    """Lets who has it see the badge of one message."""

    token: str
    expires_at: datetime


class Change(BaseModel):
    """The newest state of a message that changed; ignore one with a lower version than what you have."""

    cursor: str
    message_id: UUID
    version: int
    status: Status
    reference: str | None
    app: str | None
    rollup: Rollup


class Changes(BaseModel):
    """What changed after a cursor, and the cursor to go on with."""

    changes: list[Change]
    cursor: str


class Bucket(BaseModel):
    """An hour or a day, and how many messages of it have each status now."""

    time: datetime
    counts: dict[Status, int]


class Durations(BaseModel):
    """How many deliveries took so many seconds at most (null: more than the last), and longer than the one before."""

    at_most: int | None
    count: int


class TimeToDelivery(BaseModel):
    """Seconds from `accepted` to `delivered`."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int
    buckets: list[Durations]


class Statistics(BaseModel):
    """Messages by the time they were made, and what happened at that time."""

    from_: datetime = Field(alias="from")
    to: datetime
    by: Literal["hour", "day"]
    buckets: list[Bucket]
    bounce_classes: dict[BounceClass, int]
    opens: dict[Verdict, int]
    time_to_delivery: TimeToDelivery


class Recorded(BaseModel):
    """The event that tells of it, which is published."""

    event_id: UUID
    time: datetime


class Receipt(BaseModel):
    """Who asked for what; `left`: deliveries that an erasure has not come to yet."""

    id: UUID
    kind: Kind
    app: str | None = Field(description="null: all apps")
    by: str
    reason: str | None
    asked_at: datetime
    published_at: datetime | None
    deliveries: int
    left: int
    done: bool


class Exported(BaseModel):
    """A delivery to the address."""

    message_id: UUID
    recipient_no: int
    message: Message
    events: list[AnyEvent]


class Export(BaseModel):
    """Everything that is stored of an address, the oldest first."""

    receipt: UUID
    address: str
    asked_at: datetime
    deliveries: list[Exported]


class SignedIn(BaseModel):
    """Who a session, or a key, speaks for."""

    client: str
    app: str
    scopes: list[Scope]
    expires_at: datetime | None


class Login(BaseModel):
    """What begins a session in place of the key, once, within five minutes: fit for a link."""

    login: str
    expires_at: datetime


class DeadLetterHead(BaseModel):
    """A message that could not be processed, without its body."""

    id: UUID
    queue: str
    exchange: str
    routing_key: str
    code: str
    app: str | None
    content_type: str | None
    size: int
    died_at: datetime
    replayed_at: datetime | None


class DeadLetters(BaseModel):
    """A page, newest first."""

    dead_letters: list[DeadLetterHead]
    cursor: UUID | None


class DeadLetter(BaseModel):
    """A dead letter whole, with its reason."""

    id: UUID
    queue: str
    exchange: str
    routing_key: str
    code: str
    problem: dict[str, Any] | None
    app: str | None
    content_type: str | None
    headers: dict[str, str]
    body: str
    body_encoding: Literal["utf-8", "base64"]
    died_at: datetime
    stored_at: datetime
    replayed_at: datetime | None


class Fault(BaseModel):
    """One thing that is wrong, and where: a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457), with a stable `code` for programs."""

    type: str
    code: str
    title: str
    status: int
    detail: str | None = None
    errors: list[Fault] = []
    more_errors: int = 0
