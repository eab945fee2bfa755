"""Composes the copies of a message, one for each recipient; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

from sender import echoes, fields
from sender.echoes import Provider
from sender.entities import entity
from sender.fields import Fields
from sender.parts import Part, image
from tracepost.requests import SendRequest
from tracepost.wholemail import WholeMail

TOKEN_HEADER = "Tracepost-Token"  # noqa: S105 - a header's name

_END = b"\r\n"


@dataclass(frozen=True, slots=True)
class Links:
    """What makes this copy its recipient's own; `pixel_url` is None when opens are not tracked."""

    rfc_message_id: str
    return_token: str
    pixel_url: str | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all copies share, written once; `utf8` if the header needs SMTPUTF8 (RFC 6531).

    `echo` is the provider that is to repeat the token.
    """

    names: Sequence[bytes]  # of the header fields, in order
    head: tuple[bytes, bytes]  # before and after the copy's own fields
    start: bytes
    html: Part | None
    end: bytes
    utf8: bool
    echo: Provider | None

    def copy(self, links: Links) -> bytes:
        """The whole message with CRLF line ends; fields.HeadersAltered if a value broke out."""
        own = [("Message-ID", links.rfc_message_id), (TOKEN_HEADER, links.return_token)]
        if self.echo:
            own.append((echoes.HEADERS[self.echo], echoes.value(self.echo, links.return_token)))
        head = fields.joined(fields.verbatims(*own)).join(self.head)
        fields.check(head.removesuffix(_END), self.names, utf8=self.utf8)
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


def prepare(
    request: SendRequest, date: datetime, feedback_id: str | None = None, echo: Provider | None = None
) -> Prepared:
    """Everything but Message-ID, token and pixel."""
    mail = request.whole_mail
    further = [*_feedback(feedback_id), *_list_unsubscribe(request)]
    if mail is not None:
        return _prepared(_dated(mail, date), [*further, *_whole(mail)], mail.body, None, b"", echo)
    said = entity(request)
    further += [(name, fields.unstructured(name, value)) for name, value in request.headers.items()]
    after = [*further, ("MIME-Version", _MIME_VERSION), *said.fields]
    return _prepared(_before(request, date), after, said.start, said.html, said.end, echo)


_MIME_VERSION = fields.verbatim("MIME-Version", "1.0")


def _prepared(
    before: Fields, after: Fields, start: bytes, html: Part | None, end: bytes, echo: Provider | None
) -> Prepared:
    own = ["Message-ID", TOKEN_HEADER, *([echoes.HEADERS[echo]] if echo else [])]
    names = [*(name for name, _ in before), *own, *(name for name, _ in after)]
    head = fields.joined(before), fields.joined(after)
    return Prepared([name.encode() for name in names], head, start, html, end, not all(map(bytes.isascii, head)), echo)


def _before(request: SendRequest, date: datetime) -> Fields:
    lists = (("From", (request.from_,)), ("Reply-To", request.reply_to), ("To", request.to), ("Cc", request.cc))
    found = [(name, fields.mailboxes(name, texts)) for name, texts in lists if texts]
    if request.subject:
        found.append(("Subject", fields.unstructured("Subject", request.subject)))
    return [*found, ("Date", _date(date.replace(microsecond=0), date.utcoffset()))]


def _dated(mail: WholeMail, date: datetime) -> Fields:
    return [] if mail.value("date") else [("Date", _date(date.replace(microsecond=0), date.utcoffset()))]


@lru_cache(64)  # many messages are accepted in one second; equal times of two zones are two
def _date(second: datetime, _: timedelta | None) -> str:
    return fields.verbatim("Date", format_datetime(second))


def _whole(mail: WholeMail) -> Fields:
    """What a client wrote, but for whom nobody is to know of."""
    return [(each.name, f"{each.name}:{each.text}\r\n") for each in mail.fields if each.name.lower() != "bcc"]


def _feedback(told: str | None) -> Fields:
    return [] if told is None else fields.verbatims(("Feedback-ID", told))


def _list_unsubscribe(request: SendRequest) -> Fields:
    if request.list_unsubscribe is None:
        return []
    # RFC 8058, 3.1
    return fields.verbatims(
        ("List-Unsubscribe", f"<{request.list_unsubscribe}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    )
