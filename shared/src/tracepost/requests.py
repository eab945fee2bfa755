"""SendRequest: what an internal service publishes to have a mail sent and tracked."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    UrlConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import from_json

from tracepost import attachments, headers, wholemail
from tracepost.addresses import Mailbox, MailboxText, normal, parse
from tracepost.attachments import Attachment, Base64
from tracepost.events import Tracking
from tracepost.problems import Fault, Invalid, Problem, faults, of_faults
from tracepost.wholemail import WholeMail

CONTENT_TYPE = "application/json"
MOST_BYTES = 4 * 1024 * 1024
MOST_RECIPIENTS = 50
MOST_HEADERS = 100
MOST_ATTACHMENTS = 50
MOST_CHARACTERS = 8_000  # of a header's value; it is folded

_DAY = 86_400


def _of_these_days(message_id: UUID, info: ValidationInfo) -> UUID:
    if info.context and info.context.get("stored"):
        return message_id
    if message_id.version != 7:
        raise ValueError("is no UUIDv7; make one anew for each message")
    age = time.time() - (message_id.int >> 80) / 1000
    if not -_DAY <= age <= 7 * _DAY:
        raise ValueError("its time is not between 7 days ago and 1 day ahead; make the id when the message is made")
    return message_id


def _soon(send_at: datetime) -> datetime:
    if send_at.timestamp() > time.time() + 30 * _DAY:
        raise ValueError("is more than 30 days ahead; publish the request later")
    return send_at


def _each_once(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("gives a header twice in different case; give each once")
    return headers


def _attached(found: tuple[Attachment, ...], info: ValidationInfo) -> tuple[Attachment, ...]:
    return attachments.check(found, has_html=info.data.get("html") is not None)


def _whole_mail(raw: bytes, info: ValidationInfo) -> bytes:
    if beside := [name for name in _COMPOSED if info.data.get(name)]:
        raise ValueError(f"holds a whole mail; leave out {', '.join(beside)}, or raw")
    sender = wholemail.read(raw).sender
    if "from_" in info.data and normal(sender.address) != normal(parse(info.data["from_"]).address):
        raise ValueError("its From has another address than the request's from; give both the same")
    return raw


def _not_of_raw(tracking: Tracking, info: ValidationInfo) -> Tracking:
    if info.data.get("raw") and tracking != "off":
        raise ValueError("a raw mail is sent as it is, without a pixel; leave it out, or give html in place of raw")
    return tracking


def _not_in_raw(url: AnyUrl, info: ValidationInfo) -> AnyUrl:
    raw = info.data.get("raw")
    if raw and wholemail.read(raw).value("list-unsubscribe") is not None:
        raise ValueError("raw has a List-Unsubscribe of its own; give one of the two")
    return url


Line = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(headers.safe)]
HeaderName = Annotated[str, AfterValidator(headers.name)]
HttpsUrl = Annotated[
    AnyUrl, UrlConstraints(allowed_schemes=["https"], max_length=headers.LONGEST_WORD, host_required=True)
]
Short = Annotated[str, StringConstraints(max_length=256), AfterValidator(headers.storable)]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256), AfterValidator(headers.safe)
]
Text = Annotated[str, AfterValidator(headers.storable)]
Recipient = Annotated[MailboxText, AfterValidator(headers.safe)]
Recipients = Annotated[tuple[Recipient, ...], Field(max_length=MOST_RECIPIENTS)]


_COMPOSED = ("reply_to", "subject", "text", "html", "headers", "attachments")


class SendRequest(BaseModel):
    """One message to 1 to 50 recipients; `message_id` is the idempotency key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    message_id: Annotated[UUID, AfterValidator(_of_these_days)]
    from_: Annotated[Recipient, Field(alias="from")]
    reply_to: Recipients = ()
    to: Recipients = ()
    cc: Recipients = ()
    bcc: Recipients = ()
    subject: Line = ""
    text: Text | None = None
    html: Text | None = None
    headers: Annotated[dict[HeaderName, Line], Field(max_length=MOST_HEADERS), AfterValidator(_each_once)] = {}
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=MOST_ATTACHMENTS), AfterValidator(_attached)] = ()
    raw: Annotated[Base64, AfterValidator(_whole_mail)] | None = None
    reference: Short | None = None
    tags: Annotated[tuple[Short, ...], Field(max_length=20)] = ()
    metadata: Annotated[dict[Short, Short], Field(max_length=20)] = {}
    track_opens: Annotated[Tracking, AfterValidator(_not_of_raw)] | None = None
    send_at: Annotated[AwareDatetime, AfterValidator(_soon)] | None = None
    expires_after: Annotated[int, Field(ge=60, le=14 * _DAY, strict=True)] = 3 * _DAY
    on_unknown: Literal["retry", "park"] = "retry"
    override_suppression: Reason | None = None
    list_unsubscribe: Annotated[HttpsUrl, AfterValidator(_not_in_raw)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> SendRequest:
        if faults := _of_the_whole(vars(self)):
            raise ValueError("; ".join(faults))
        if len({normal(each.address) for each in self.recipients}) < len(self.to) + len(self.cc) + len(self.bcc):
            raise ValueError("names an address twice in to, cc and bcc; name each once")
        return self

    @property
    def recipients(self) -> list[Mailbox]:
        """to + cc + bcc; the index is the recipient number."""
        return [parse(text) for text in (*self.to, *self.cc, *self.bcc)]

    def tracking(self, default: Tracking) -> Tracking:
        """How opens are tracked where a request that does not say asks for `default`."""
        return "off" if self.raw is not None else self.track_opens or default

    @property
    def whole_mail(self) -> WholeMail | None:
        """What `raw` holds."""
        return None if self.raw is None else wholemail.read(self.raw)

    @property
    def subject_line(self) -> str:
        """As recipients read it."""
        mail = self.whole_mail
        return self.subject if mail is None else mail.subject


def _of_the_whole(fields: Any) -> list[str]:
    """The faults that no single field shows; looked for even where other faults keep the model from being made."""
    faults = []
    if all(fields.get(name) is None for name in ("text", "html", "raw")):
        faults.append("has neither text nor html; give at least one, or a whole mail as raw")
    lists = [fields.get(name) or () for name in ("to", "cc", "bcc")]
    count = sum(len(each) for each in lists if isinstance(each, list | tuple))
    if all(isinstance(each, list | tuple) for each in lists) and not 1 <= count <= MOST_RECIPIENTS:
        faults.append(f"has {count} recipients in to, cc and bcc; give 1 to {MOST_RECIPIENTS}")
    return faults


def decode(body: bytes) -> SendRequest:
    """A request from JSON; Invalid names every fault."""
    if len(body) > MOST_BYTES:
        detail = f"it has {len(body)} bytes; at most {MOST_BYTES} are taken"
        raise Invalid(
            Problem(code="request-too-large", title="The send request is too large", status=413, detail=detail)
        )
    try:
        return SendRequest.model_validate_json(body)
    except ValidationError as error:
        found = faults(error)
    whole = _faults_of_the_whole(body)
    single = [fault for fault in found if fault.pointer or fault.detail != "; ".join(whole)]
    told = [*single, *(Fault(pointer="", detail=each) for each in whole)]
    raise Invalid(of_faults(told, "invalid-request", "The send request is not valid"))


def _faults_of_the_whole(body: bytes) -> list[str]:
    try:
        fields = from_json(body)
    except ValueError:
        return []
    return _of_the_whole(fields) if isinstance(fields, dict) else []


def stored(body: bytes) -> SendRequest:
    """A request that was valid when it was taken: its id may have aged since."""
    return SendRequest.model_validate_json(body, context={"stored": True})


def encode(request: SendRequest) -> bytes:
    """The request as JSON, unset fields left out."""
    return request.model_dump_json(by_alias=True, exclude_unset=True).encode()
