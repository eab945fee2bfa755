"""Composes the copies of a message, one for each recipient; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

from sender import fields
from sender.parts import Part, image, part
from tracepost.pixels import strip_pixels
from tracepost.requests import SendRequest

TOKEN_HEADER = "Tracepost-Token"  # noqa: S105 - a header's name

_END = b"\r\n"

_MIME = ("MIME-Version", "1.0")

Fields = Sequence[tuple[str, str]]
"""Names, and the whole fields with their line ends."""


@dataclass(frozen=True, slots=True)
class Links:
    """What makes this copy its recipient's own; `pixel_url` is None when opens are not tracked."""

    rfc_message_id: str
    return_token: str
    pixel_url: str | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all copies share, written once."""

    names: Sequence[bytes]  # of the header fields, in order
    head: tuple[bytes, bytes]  # before and after the copy's own fields
    start: bytes
    html: Part | None
    end: bytes

    def copy(self, links: Links) -> bytes:
        """The whole message with CRLF line ends; fields.HeadersAltered if a value broke out."""
        own = fields.verbatim("Message-ID", links.rfc_message_id) + fields.verbatim(TOKEN_HEADER, links.return_token)
        head = own.encode().join(self.head)
        fields.check(head.removesuffix(_END), self.names)
        message = b"".join((head, _END, self.start, self._html(links.pixel_url), self.end))
        # SMTP would add it; so the size that is announced is right.
        return message if message.endswith(_END) else message + _END

    def _html(self, pixel_url: str | None) -> bytes:
        if self.html is None:
            return b""
        return self.html.body(image(pixel_url) if pixel_url else b"")


def compose(request: SendRequest, links: Links, date: datetime) -> bytes:
    """One copy, the same for every attempt."""
    return prepare(request, date).copy(links)


def prepare(request: SendRequest, date: datetime) -> Prepared:
    """Everything but Message-ID, token and pixel."""
    boundary = f"=_{request.message_id.hex}"
    text = None if request.text is None else part("plain", request.text, boundary.encode())
    # A quoted mail may hold its pixel still: whoever opens the answer would be taken for its reader.
    html = None if request.html is None else part("html", strip_pixels(request.html), boundary.encode())
    if text and html:
        mime, start, end = _both(text, html, boundary)
    else:
        mime, start, end = _one(text, html)
    before, after = _before(request, date), [*_after(request), *mime]
    names = [*(name for name, _ in before), "Message-ID", TOKEN_HEADER, *(name for name, _ in after)]
    head = _joined(before), _joined(after)
    return Prepared([name.encode() for name in names], head, start, html, end)


def _before(request: SendRequest, date: datetime) -> Fields:
    lists = (("From", (request.from_,)), ("Reply-To", request.reply_to), ("To", request.to), ("Cc", request.cc))
    found = [(name, fields.mailboxes(name, texts)) for name, texts in lists if texts]
    if request.subject:
        found.append(("Subject", fields.unstructured("Subject", request.subject)))
    return [*found, ("Date", _date(date.replace(microsecond=0), date.utcoffset()))]


@lru_cache(64)  # many messages are accepted in one second; equal times of two zones are two
def _date(second: datetime, _: timedelta | None) -> str:
    return fields.verbatim("Date", format_datetime(second))


def _after(request: SendRequest) -> Fields:
    further = [(name, fields.unstructured(name, value)) for name, value in request.headers.items()]
    if request.list_unsubscribe is None:
        return further
    # RFC 8058, 3.1
    return (
        _verbatim(
            ("List-Unsubscribe", f"<{request.list_unsubscribe}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        )
        + further
    )


def _one(text: Part | None, html: Part | None) -> tuple[Fields, bytes, bytes]:
    """MIME's fields; what stands before the HTML, and after it."""
    only = text or html
    assert only is not None  # a request without both is refused
    return _verbatim(_MIME, *only.fields), text.body() if text else b"", b""


def _both(text: Part, html: Part, boundary: str) -> tuple[Fields, bytes, bytes]:
    # The least first (RFC 2046, 5.1.4).
    line = f"--{boundary}".encode()
    start = [line, _joined(_verbatim(*text.fields)), text.body(), line, _joined(_verbatim(*html.fields)), b""]
    kind = fields.unstructured("Content-Type", f'multipart/alternative; boundary="{boundary}"')
    return [*_verbatim(_MIME), ("Content-Type", kind)], _END.join(start), _END + line + b"--" + _END


def _verbatim(*named: tuple[str, str]) -> list[tuple[str, str]]:
    return [(name, fields.verbatim(name, value)) for name, value in named]


def _joined(named: Fields) -> bytes:
    return "".join([field for _, field in named]).encode()
