"""Splits a mail into its parts, within limits, in time linear in its size.

The standard library's parser is not used: it recurses into multiparts and returned messages, so that nested ones end in
RecursionError, its reading of parameters is quadratic, and a returned original that is itself a bounce could pass for
the report.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bounce_ingest.reading.values import Reason

MAX_SIZE = 64 * 1024 * 1024  # bytes of a mail
MAX_HEADERS = 1000  # in one header block; real mail stays under 200
MAX_HEADER_BLOCK = 512 * 1024  # characters
MAX_DEPTH = 8  # multiparts within one another, outside of the returned message
MAX_PARTS = 200  # MIME parts of a mail, and groups of fields of a report
MAX_VALUE = 4000  # characters of a value

_NAME = r"[A-Za-z][A-Za-z0-9-]{0,70}+[ \t]*+:"
_FIELD = re.compile(rf"(?m)^({_NAME})(.*+(?:\n(?!{_NAME}).*+)*+)")
_STARTS_WITH_FIELD = re.compile(rf"(?:{_NAME}|>?From )")
_FIRST_BOUNDARY = re.compile(r"(?mi)^--(\S{1,200})[ \t]*\n(?=content-|\n)")
_BOUNDARY = re.compile(r'(?i)[;\s]boundary\s{0,9}=\s{0,9}(?:"([^"]{1,200})|([^\s;"]{1,200}))')
_CHARSET = re.compile(r"(?i)[;\s]charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_ISO_2022 = re.compile(r"\x1b[$(][A-Z@]")

# What servers call the charsets whose names Python does not know.
_CHARSETS = {
    "unicode-1-1-utf-7": "utf-7",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape"}


class TooMuch(Exception):
    """Its argument is the Reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Part:
    """A header block, its names in lower case, a body in which each character is a byte, and its media type."""

    fields: dict[str, list[str]]
    body: str
    type: str = "text/plain"

    def get(self, name: str) -> str:
        """The first value of a field, or nothing."""
        values = self.fields.get(name)
        return values[0] if values else ""

    def decoded(self) -> str:
        """The body, its transfer encoding undone; each character is still a byte."""
        match self.get("content-transfer-encoding").lower():
            case "base64":
                return _base64(self.body)
            case "quoted-printable":
                return binascii.a2b_qp(self.body.encode("latin-1")).decode("latin-1").replace("\r\n", "\n")
            case _:
                return self.body

    def text(self) -> str:
        """The body as people read it."""
        raw = self.decoded()
        if raw.isascii() and "\x1b" not in raw:
            return raw
        charset = _CHARSET.search(self.get("content-type"))
        return characters(raw, charset[1].lower() if charset else "")


def part(raw: str) -> Part:
    """Read a header block and its body; a line that is no field continues the one before, as broken reports have it."""
    if raw.startswith("\n") or not _STARTS_WITH_FIELD.match(raw):
        return Part({}, raw.removeprefix("\n"))
    head, _, body = raw.partition("\n\n")
    found = fields(head)
    stated = found.get("content-type")
    return (
        Part(found, body, stated[0].partition(";")[0].strip().lower() or "text/plain") if stated else Part(found, body)
    )


def fields(head: str) -> dict[str, list[str]]:
    """The fields of a header block whose characters are bytes, unfolded."""
    if len(head) > MAX_HEADER_BLOCK:
        raise TooMuch("too_many_headers")
    return unfolded(head if head.isascii() else _eight_bit(head))


def _eight_bit(head: str) -> str:
    """As RFC 6532 has it, else in the charset of the body, as servers that know neither it nor RFC 2047 write."""
    try:
        return head.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        charset = _CHARSET.search(head)
        return characters(head, charset[1].lower() if charset else "")


def unfolded(head: str) -> dict[str, list[str]]:
    """The fields of a text."""
    found: dict[str, list[str]] = {}
    for number, field in enumerate(_FIELD.finditer(head)):
        if number == MAX_HEADERS:
            raise TooMuch("too_many_headers")
        found.setdefault(field[1].rstrip(": \t").lower(), []).append(" ".join(field[2][:MAX_VALUE].split()))
    return found


def whole(mail: bytes) -> Part:
    """The mail itself; TooMuch where it passes the limits."""
    if len(mail) > MAX_SIZE:
        raise TooMuch("too_large")
    raw = mail.decode("latin-1")
    if "\r" in raw:
        raw = raw.replace("\r\n", "\n").replace("\r", "\n")
    return part(raw.lstrip("\n"))


def leaves(of: Part, depth: int = 0) -> Iterator[Part]:
    """The parts that are no multiparts; a returned message is one of them and is not looked into."""
    # A whole mail may have lost its Content-Type on the way.
    lost = depth == 0 and "content-type" not in of.fields
    pieces = _pieces(of) if lost or of.type.startswith("multipart/") else []
    if pieces and lost:
        text = of.decoded()
        yield Part({}, text[: text.index(pieces[0])])
    if not pieces:
        yield of
    elif depth == MAX_DEPTH:
        raise TooMuch("too_deep")
    for piece in pieces:
        yield from leaves(part(piece), depth + 1)


def _pieces(of: Part) -> list[str]:
    body = of.decoded()
    stated = _BOUNDARY.search(of.get("content-type"))
    if stated and (pieces := _split(body, stated[1] or stated[2])):
        return pieces
    found = _FIRST_BOUNDARY.search(body)  # the stated one is not always in use
    return _split(body, found[1]) if found else []


def _split(body: str, boundary: str) -> list[str]:
    """What stands between the delimiter lines; by hand, for a regular expression would be compiled for every mail."""
    mark = f"--{boundary}"
    pieces: list[str] = []
    begun, at = -1, body.find(mark)
    while at >= 0 and len(pieces) <= MAX_PARTS:
        end = body.find("\n", at)
        end = len(body) if end < 0 else end
        line = body.rfind("\n", max(at - 2, 0), at) + 1
        if at - line <= 1 and body[at + len(mark) : end].rstrip() in {"", "--"} and not body[line:at].strip():
            if begun >= 0:
                pieces.append(body[begun:line])
            begun = end + 1
        at = body.find(mark, end)
    return [*pieces, body[begun:]] if begun >= 0 else []


def _base64(text: str) -> str:
    text = _NOT_BASE64.sub("", text)
    usable = len(text) - (1 if len(text) % 4 == 1 else 0)
    raw = binascii.a2b_base64(text[:usable] + "=" * (-usable % 4))
    return raw.decode("latin-1").replace("\r\n", "\n")


def characters(raw: str, charset: str) -> str:
    """Bytes as characters: by the stated charset if it fits, else by what they look like."""
    data = raw.encode("latin-1")
    if _ISO_2022.search(raw):
        return data.decode(
            "iso2022_jp_ext" if charset.startswith("iso-2022-jp") or not charset else _known(charset), "replace"
        )
    for name in (_known(charset), "utf-8"):
        try:
            return data.decode(name)
        except UnicodeError:
            continue
    return data.decode(_known(charset) if charset not in {"", "utf-8", "us-ascii"} else "cp1252", "replace")


@lru_cache(maxsize=256)
def _known(charset: str) -> str:
    name = _CHARSETS.get(charset, charset)
    try:
        b"x".decode(name)
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name.replace("-", "_") in _NO_CHARSETS else name
