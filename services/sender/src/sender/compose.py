"""Composes one recipient's copy of a message; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.parser import BytesHeaderParser
from email.utils import format_datetime, formataddr
from html import escape

from tracepost.addresses import Mailbox, parse
from tracepost.requests import SendRequest

TOKEN_HEADER = "Tracepost-Token"  # noqa: S105 - a header's name

_CRLF = "\r\n"
_LINE_END = re.compile(r"\r\n|\r|\n")
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Links:
    """What makes this copy its recipient's own; `pixel_url` is None when opens are not tracked."""

    rfc_message_id: str
    return_token: str
    pixel_url: str | None


class HeadersAltered(Exception):
    """The composed header block does not read back as it was meant: it must not be sent."""


def compose(request: SendRequest, links: Links, date: datetime) -> bytes:
    """The whole message with CRLF line ends; the same for every attempt. HeadersAltered if a value broke out."""
    message = _body(request, links.pixel_url, f"=_{request.message_id.hex}")
    further = [(name, _folded(name, value)) for name, value in request.headers.items()]
    headers = [*_headers(request, links, date), *further]
    for name, value in headers:
        message[name] = value
    composed = message.as_bytes(policy=policy.compat32.clone(linesep=_CRLF, max_line_length=None))
    expected = _names(message)
    read_back = _names(BytesHeaderParser().parsebytes(composed.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"))
    if read_back != expected:
        raise HeadersAltered(f"wrote {expected}, read {read_back}")
    return composed


def _names(message: Message) -> list[str]:
    return [name.lower() for name, _ in message.items()]


def _headers(request: SendRequest, links: Links, date: datetime) -> list[tuple[str, str]]:
    fields = [
        ("From", _mailboxes((request.from_,))),
        ("Reply-To", _mailboxes(request.reply_to)),
        ("To", _mailboxes(request.to)),
        ("Cc", _mailboxes(request.cc)),
        ("Subject", _folded("Subject", request.subject)),
        ("Date", format_datetime(date)),
        ("Message-ID", links.rfc_message_id),
        (TOKEN_HEADER, links.return_token),
    ]
    if request.list_unsubscribe:
        fields += [
            ("List-Unsubscribe", f"<{request.list_unsubscribe}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ]
    return [(name, value) for name, value in fields if value]


def _folded(name: str, value: str) -> str:
    # An ASCII text that looks like an encoded word would be read as one, unless it is encoded itself.
    charset = "us-ascii" if value.isascii() and "=?" not in value else "utf-8"
    # A first word that does not fit beside the name stays there all the same: an empty first line is obsolete.
    return Header(value, charset, header_name=name).encode(linesep=_CRLF).lstrip()


def _mailboxes(texts: tuple[str, ...]) -> str:
    return f",{_CRLF} ".join(_mailbox(parse(text)) for text in texts)


def _mailbox(mailbox: Mailbox) -> str:
    if mailbox.name.isascii() and "=?" not in mailbox.name:
        return formataddr(mailbox)
    return f"{Header(mailbox.name, 'utf-8').encode(linesep=_CRLF)} <{mailbox.address}>"


def _body(request: SendRequest, pixel_url: str | None, boundary: str) -> Message:
    html = request.html if request.html is None or pixel_url is None else _with_pixel(request.html, pixel_url)
    parts = [
        MIMEText(_LINE_END.sub(_CRLF, text), kind, "utf-8")
        for text, kind in ((request.text, "plain"), (html, "html"))
        if text is not None
    ]
    if len(parts) == 1:
        return parts[0]
    # Base64 parts hold no boundary, so that it need not be made up anew for each attempt.
    return MIMEMultipart("alternative", boundary, _subparts=parts)


def _with_pixel(html: str, url: str) -> str:
    """The image before the last `</body>`, else at the end."""
    image = f'<img src="{escape(url)}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'
    ends = list(_BODY_END.finditer(html))
    at = ends[-1].start() if ends else len(html)
    return html[:at] + image + html[at:]
