"""SendRequest: what an internal service publishes to have a mail sent and tracked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import from_json

from tracepost.addresses import Mailbox, MailboxText, normal, parse
from tracepost.events import Tracking
from tracepost.problems import Fault, Invalid, Problem, from_validation

CONTENT_TYPE = "application/json"
MOST_BYTES = 4 * 1024 * 1024
MOST_RECIPIENTS = 50

_DAY = 86_400
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_HEADER_NAME = re.compile(r"^[!-9;-~]{1,76}$")
_OURS = {
    *("from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "return-path", "received"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"),
    *("list-unsubscribe", "list-unsubscribe-post", "dkim-signature", "authentication-results", "feedback-id"),
}


def _header_safe(text: str) -> str:
    # An encoded word hides line breaks from a look at the raw text, and the library would set them free.
    try:
        decoded = str(make_header(decode_header(text)))
    except (HeaderParseError, UnicodeError, LookupError, ValueError):
        raise ValueError("holds an encoded word that cannot be decoded; write the text as plain Unicode") from None
    if _CONTROL.search(text) or _CONTROL.search(decoded):
        raise ValueError("holds a line break or another control character; remove it")
    return text


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds the character U+0000, which no mail may hold; remove it")
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


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if not _HEADER_NAME.match(name):
            raise ValueError(f"{name[:80]!r} is no header name")
        if name.lower() in _OURS or name.lower().startswith("tracepost-"):
            raise ValueError(f"{name} is set by Tracepost; use the request's own field for it, or leave it out")
    return headers


Line = Annotated[str, StringConstraints(max_length=998), AfterValidator(_header_safe)]
Short = Annotated[str, StringConstraints(max_length=256), AfterValidator(_storable)]
Text = Annotated[str, AfterValidator(_storable)]
Recipient = Annotated[MailboxText, AfterValidator(_header_safe)]


class SendRequest(BaseModel):
    """One message to 1 to 50 recipients; `message_id` is the idempotency key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    message_id: Annotated[UUID, AfterValidator(_of_these_days)]
    from_: Annotated[Recipient, Field(alias="from")]
    reply_to: tuple[Recipient, ...] = ()
    to: tuple[Recipient, ...] = ()
    cc: tuple[Recipient, ...] = ()
    bcc: tuple[Recipient, ...] = ()
    subject: Line = ""
    text: Text | None = None
    html: Text | None = None
    headers: Annotated[dict[str, Line], AfterValidator(_headers)] = {}
    reference: Short | None = None
    tags: Annotated[tuple[Short, ...], Field(max_length=20)] = ()
    metadata: Annotated[dict[Short, Short], Field(max_length=20)] = {}
    track_opens: Tracking | None = None
    send_at: Annotated[AwareDatetime, AfterValidator(_soon)] | None = None
    expires_after: Annotated[int, Field(ge=60, le=14 * _DAY)] = 3 * _DAY
    on_unknown: Literal["retry", "park"] = "retry"
    list_unsubscribe: HttpUrl | None = None

    @model_validator(mode="after")
    def _whole(self) -> SendRequest:
        for fault in _missing(self.model_dump(include={"text", "html", "to", "cc", "bcc"})):
            raise ValueError(fault)
        if len({normal(each.address) for each in self.recipients}) < len(self.recipients):
            raise ValueError("names an address twice in to, cc and bcc; name each once")
        return self

    @property
    def recipients(self) -> list[Mailbox]:
        """to + cc + bcc; the index is the recipient number."""
        return [parse(text) for text in (*self.to, *self.cc, *self.bcc)]


def _missing(fields: Any) -> Iterator[str]:
    """The faults that no single field shows; looked for even where other faults keep the model from being made."""
    if fields.get("text") is None and fields.get("html") is None:
        yield "has neither text nor html; give at least one"
    count = sum(len(fields.get(name) or ()) for name in ("to", "cc", "bcc"))
    if not 1 <= count <= MOST_RECIPIENTS:
        yield f"has {count} recipients in to, cc and bcc; give 1 to {MOST_RECIPIENTS}"


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
        problem = from_validation(error, "invalid-request", "The send request is not valid")
    with suppress(ValueError, TypeError, AttributeError):  # no JSON, or not of the shape that could be looked at
        if all(fault.pointer for fault in problem.errors):
            more = tuple(Fault(pointer="", detail=fault) for fault in _missing(from_json(body)))
            problem = problem.model_copy(update={"errors": problem.errors + more})
    raise Invalid(problem)


def stored(body: bytes) -> SendRequest:
    """A request that was valid when it was taken: its id may have aged since."""
    return SendRequest.model_validate_json(body, context={"stored": True})


def encode(request: SendRequest) -> bytes:
    """The request as JSON, unset fields left out."""
    return request.model_dump_json(by_alias=True, exclude_unset=True).encode()


def refusal(code: str, title: str, detail: str, pointer: str = "") -> Problem:
    """A problem document about one field of a request."""
    return Problem(
        code=code, title=title, detail=detail, errors=(Fault(pointer=pointer, detail=detail),) if pointer else ()
    )
