"""SendRequest: what an internal service publishes to have a mail sent and tracked."""

from __future__ import annotations

import re
import time
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
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

from tracepost.addresses import Mailbox, MailboxText, normal, parse
from tracepost.events import Tracking
from tracepost.problems import Fault, Invalid, Problem, faults, of_faults

CONTENT_TYPE = "application/json"
MOST_BYTES = 4 * 1024 * 1024
MOST_RECIPIENTS = 50
MOST_HEADERS = 100
MOST_CHARACTERS = 8_000  # of a header's value; it is folded
LONGEST_WORD = 900  # RFC 5322 allows a line 998, and the header's name stands there too

_DAY = 86_400
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")
_OURS = {
    *("from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "return-path", "received"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"),
    *("list-unsubscribe", "list-unsubscribe-post", "dkim-signature", "authentication-results", "feedback-id"),
}


def _header_safe(text: str) -> str:
    # An encoded word hides line breaks from a look at the raw text, and the library would set them free.
    try:
        decoded = str(make_header(decode_header(text))) if "=?" in text else text
    except (MessageError, UnicodeError, LookupError, ValueError):
        raise ValueError("holds an encoded word that cannot be decoded; write the text as plain Unicode") from None
    if _CONTROL.search(text) or _CONTROL.search(decoded):
        raise ValueError("holds a line break or another control character; remove it")
    if any(len(word) > LONGEST_WORD for word in text.split()):
        raise ValueError(f"holds a word of more than {LONGEST_WORD} characters, which no line can hold; shorten it")
    return _storable(text)


def _storable(text: str) -> str:
    if "\0" in text or _SURROGATE.search(text):
        raise ValueError("holds U+0000 or half a surrogate pair, which no mail may hold; remove it")
    return text


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


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no header name")
    if name.lower() in _OURS or name.lower().startswith(("tracepost-", "resent-", "arc-")):
        raise ValueError(f"{name} is set by Tracepost; use the request's own field for it, or leave it out")
    return name


def _each_once(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("gives a header twice in different case; give each once")
    return headers


Line = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_header_safe)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HttpsUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https"], max_length=LONGEST_WORD, host_required=True)]
Short = Annotated[str, StringConstraints(max_length=256), AfterValidator(_storable)]
Text = Annotated[str, AfterValidator(_storable)]
Recipient = Annotated[MailboxText, AfterValidator(_header_safe)]
Recipients = Annotated[tuple[Recipient, ...], Field(max_length=MOST_RECIPIENTS)]


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
    reference: Short | None = None
    tags: Annotated[tuple[Short, ...], Field(max_length=20)] = ()
    metadata: Annotated[dict[Short, Short], Field(max_length=20)] = {}
    track_opens: Tracking | None = None
    send_at: Annotated[AwareDatetime, AfterValidator(_soon)] | None = None
    expires_after: Annotated[int, Field(ge=60, le=14 * _DAY, strict=True)] = 3 * _DAY
    on_unknown: Literal["retry", "park"] = "retry"
    list_unsubscribe: HttpsUrl | None = None

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


def _of_the_whole(fields: Any) -> list[str]:
    """The faults that no single field shows; looked for even where other faults keep the model from being made."""
    faults = []
    if fields.get("text") is None and fields.get("html") is None:
        faults.append("has neither text nor html; give at least one")
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
