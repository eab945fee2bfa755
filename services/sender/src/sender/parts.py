"""Writes texts as MIME parts: short ASCII lines as they are, all else in the shorter of MIME's encodings; pure."""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Literal, NamedTuple

from sender.fields import LONGEST_LINE

LONGEST_IMAGE = 400

_PRINTABLE = bytes(range(32, 127)) + b"\t\r\n"
_BASE64_LINE = 57  # bytes, which make 76 characters
_BODY_END = re.compile(rb"</body\s*>", re.IGNORECASE)
_BEYOND = re.compile(rb"=(?=(?:20|09)\n)(?<=[^\n]{74}=)")


class _Encoding(NamedTuple):
    """`cut` is where the writing can be begun anew, so that what stands before is written once for all copies."""

    name: str
    write: Callable[[bytes], bytes]
    cut: Callable[[bytes, int], int]


@dataclass(frozen=True, slots=True)
class Part:
    """A text, written up to shortly before the place of the pixel's image, which in plain text is its end."""

    kind: Literal["plain", "html"]
    encoding: _Encoding
    written: bytes
    before: bytes
    after: bytes

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The names and values of its header."""
        return [
            ("Content-Type", f"text/{self.kind}; charset=utf-8"),
            ("Content-Transfer-Encoding", self.encoding.name),
        ]

    def body(self, image: bytes = b"") -> bytes:
        """All of it, with the image."""
        return self.written + self.encoding.write(self.before + image + self.after)


def part(kind: Literal["plain", "html"], text: str, boundary: bytes) -> Part:
    """The part of a text; the boundary does not occur in it."""
    raw = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode()
    encoding = _encoding(raw, boundary)
    at = _end_of_body(raw) if kind == "html" else len(raw)
    cut = encoding.cut(raw, at)
    return Part(kind, encoding, encoding.write(raw[:cut]), raw[cut:at], raw[at:])


def image(url: str) -> bytes:
    """The image of a pixel; ValueError if its URL is longer than the lines of a part have room for."""
    tag = f'<img src="{escape(url)}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'.encode("ascii")
    if len(tag) > LONGEST_IMAGE:
        raise ValueError(f"the pixel's image takes {len(tag)} characters; a line has room for {LONGEST_IMAGE}")
    return tag


def _encoding(raw: bytes, boundary: bytes) -> _Encoding:
    """A text that could be taken for something else on its way is hidden in base64."""
    to_escape = len(raw.translate(None, _PRINTABLE))
    if _could_be_mistaken(b"\n" + raw, boundary) or to_escape * 6 > len(raw):
        return _BASE64
    if to_escape or max(map(len, raw.split(b"\r\n"))) > LONGEST_LINE - LONGEST_IMAGE:
        return _QUOTED_PRINTABLE
    return _AS_IT_IS


def _could_be_mistaken(raw: bytes, boundary: bytes) -> bool:
    # A dot can be taken for the end of the mail (SMTP smuggling), and mailbox files make `>From` of the other.
    return b"\n." in raw or b"\nFrom " in raw or boundary in raw


def _end_of_body(raw: bytes) -> int:
    """Where the last `</body>` begins, else the end."""
    lower, at = raw.lower(), len(raw)
    while (at := lower.rfind(b"</body", 0, at)) >= 0:
        if _BODY_END.match(raw, at):
            return at
    return len(raw)


def _quoted_printable(raw: bytes) -> bytes:
    written = b2a_qp(raw.replace(b"\r\n", b"\n"))
    # White space at the end of a full line is written beyond the 76 characters of RFC 2045.
    return _BEYOND.sub(b"=\n=", written).replace(b"\n", b"\r\n")


def base64(raw: bytes) -> bytes:
    """In lines of 76 characters (RFC 2045, 6.8)."""
    written = b2a_base64(raw, newline=False)
    return b"".join([written[at : at + 76] + b"\r\n" for at in range(0, len(written), 76)])


_AS_IT_IS = _Encoding("7bit", bytes, lambda _, at: at)
_QUOTED_PRINTABLE = _Encoding("quoted-printable", _quoted_printable, lambda raw, at: raw.rfind(b"\n", 0, at) + 1)
_BASE64 = _Encoding("base64", base64, lambda _, at: at - at % _BASE64_LINE)
