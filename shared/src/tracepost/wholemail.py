"""Reads a whole mail (RFC 5322) that a client wrote; refused unless all parsers read the same of it; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tracepost import headers
from tracepost.addresses import Mailbox, parse

MOST_OF_HEAD = 64 * 1024
MOST_FIELDS = 200
LONGEST_LINE = 998  # RFC 5322, 2.1.1, without the line end

_LINE_END = re.compile(rb"\r\n|\r|\n")
_TOO_LONG = re.compile(rb"[^\r\n]{%d}" % (LONGEST_LINE + 1))
_IN_A_HEAD = bytes(range(32, 127)) + b"\r\n\t"
_ONCE = {  # RFC 5322, 3.6; RFC 2045
    *("from", "reply-to", "to", "cc", "bcc", "subject", "date", "in-reply-to", "references", "mime-version"),
    *("content-type", "content-transfer-encoding", "content-disposition", "content-id"),
    *("list-unsubscribe", "list-unsubscribe-post"),
}


class Field(NamedTuple):
    """A header field: its name, and what follows the colon, with the breaks of its lines."""

    name: str
    text: str

    @property
    def value(self) -> str:
        """Unfolded, its encoded words as they are."""
        return self.text.replace("\r\n", "").strip()


class WholeMail(NamedTuple):
    """Its fields in order, the mailbox of its From, and its body with CRLF line ends."""

    fields: tuple[Field, ...]
    sender: Mailbox
    body: bytes

    @property
    def subject(self) -> str:
        """As people read it."""
        return headers.decode(self.value("subject") or "")

    def value(self, name: str) -> str | None:
        """Of the first field of that name, in lower case; None without one."""
        return _value(self.fields, name)


def read(raw: bytes) -> WholeMail:
    """The mail; ValueError says what is wrong with it."""
    if b"\0" in raw:
        raise ValueError("holds U+0000, which no mail may hold; remove it")
    whole = _LINE_END.sub(b"\r\n", raw) if _has_bare_ends(raw) else raw
    head, _, body = whole.partition(b"\r\n\r\n")
    if _TOO_LONG.search(whole):
        remedy = "fold headers, and write bodies in quoted-printable or base64"
        raise ValueError(f"holds a line of more than {LONGEST_LINE} bytes; {remedy}")
    fields = _fields(head.removesuffix(b"\r\n"))
    return WholeMail(fields, _sender(fields), body)


def _sender(fields: Sequence[Field]) -> Mailbox:
    try:
        return parse(_value(fields, "from") or "")
    except ValueError as error:
        raise ValueError(f"its From names no single mailbox: {error}") from None


def _value(fields: Sequence[Field], name: str) -> str | None:
    return next((each.value for each in fields if each.name.lower() == name), None)


def _has_bare_ends(raw: bytes) -> bool:
    whole = raw.count(b"\r\n")
    return raw.count(b"\n") != whole or raw.count(b"\r") != whole


def _fields(head: bytes) -> tuple[Field, ...]:
    if len(head) > MOST_OF_HEAD:
        raise ValueError(f"has a header of {len(head)} bytes; at most {MOST_OF_HEAD} are taken")
    if head.translate(None, _IN_A_HEAD):
        raise ValueError("has a control or non-ASCII character in its header; write that as encoded words (RFC 2047)")
    lines = head.replace(b"\t", b" ").decode("ascii").split("\r\n")
    if any(line.isspace() for line in lines):
        raise ValueError("has a blank line in its header that holds white space; remove it")
    fields = tuple(map(_field, _unfolded(lines)))
    if len(fields) > MOST_FIELDS:
        raise ValueError(f"has {len(fields)} header fields; at most {MOST_FIELDS} are taken")
    if again := {name for name, count in Counter(each.name.lower() for each in fields).items() if count > 1} & _ONCE:
        raise ValueError(f"gives {', '.join(sorted(again))} more than once; give each once")
    return fields


def _unfolded(lines: list[str]) -> list[str]:
    """Fields, each with all its lines."""
    found: list[str] = []
    for line in lines:
        if line.startswith(" "):
            if not found:
                raise ValueError("begins with white space; a mail begins with a header field")
            found[-1] += f"\r\n{line}"
        else:
            found.append(line)
    return found


def _field(whole: str) -> Field:
    name, colon, text = whole.partition(":")
    if not colon:
        raise ValueError(f"has a line in its header that is no field: it begins with {whole[:20]!r}")
    found = Field(headers.whole_name(name), text)
    if name.lower() == "sender":
        raise ValueError("has a Sender; the mail is sent by its From, so leave it out")
    try:
        headers.safe(found.value)
    except ValueError as error:
        raise ValueError(f"its {name} {error}") from None
    return found
