"""What a mail tells people, apart from the message that it returns."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bounce_ingest.reading.addresses import ADDRESS
from bounce_ingest.reading.parts import Part, characters
from bounce_ingest.reading.returned import Returned, returned
from bounce_ingest.reading.rich_text import plain_text
from bounce_ingest.reading.wording import tells, words

MAX_TEXT = 64 * 1024  # characters of the text for people
MAX_LINES = 2000
MAX_INDENTED = 4  # characters before a header that is quoted
MAX_MARK, MAX_BARE_MARK = 160, 30  # characters of a line that announces the returned message
MAX_MENTIONS = 10
MAX_BEHIND, MAX_ABOVE = 3, 30  # lines from an address that may be about it

RETURNED = re.compile(r"message/(?:rfc822|global|partial)(?:-headers?)?|text/rfc822(?:-headers?)?")
_ENCODED_WORD = re.compile(r"=\?([\w.:-]{1,40})(?:\*[\w-]*)?\?([bq])\?([^?\s]{0,900})\?=(?:\s+(?==\?))?", re.IGNORECASE)
_ADDRESS = re.compile(ADDRESS)
# With one of these a block of header lines begins, or goes on: the returned message itself, perhaps quoted.
_HEADERS = (
    "received:",
    "return-path:",
    "dkim-signature:",
    "mime-version:",
    "x-received:",
    "delivered-to:",
    "arc-seal:",
)
_UNQUOTED_HEADERS = ("message-id:",)
_HEADER_LINE = re.compile(r"[ \t>|]{0,5}[A-Za-z][\w-]{1,40}:|[ \t]")


@dataclass(frozen=True, slots=True)
class Notice:
    """`text` is for people, `lower` the same in lower case.

    `inner` is the returned message as far as it came back; each of its characters is a byte.
    """

    subject: str
    sender: str
    text: str
    lower: str
    inner: str
    returned: Returned
    to: tuple[str, ...]

    def context(self, address: str | None, of: int) -> tuple[str, ...]:
        """What is told of one of so many recipients: of the only one all, else the lines around its mentions."""
        if of == 1:
            return self.text, self.subject
        lines, low = self.text.splitlines()[:MAX_LINES], (address or "\n").lower()
        at = [number for number, line in enumerate(lines) if low in line.lower()][:MAX_MENTIONS]
        return ("\n".join(line for number in at for line in _around(lines, number, low)),)


def notice(mail: Part, parts: Sequence[Part]) -> Notice:
    """Of a mail and the parts that it was split into."""
    back = next((number for number, part in enumerate(parts) if RETURNED.fullmatch(part.type)), len(parts))
    before = parts[:back] or parts
    plain = "\n".join(part.text() for part in before if _is_plain(part))[:MAX_TEXT]
    rich = "" if plain.strip() else _rich(before)
    text, rest = _cut(plain if plain.strip() else rich)
    inner = (parts[back].decoded() if back < len(parts) else rest.encode("utf-8").decode("latin-1")).lstrip("\n")
    return Notice(
        subject=words_of(mail.get("subject")),
        sender=mail.get("from"),
        text=text,
        lower=text.lower(),
        inner=inner,
        returned=returned(inner),
        to=tuple(_ADDRESS.findall(mail.get("to"))),
    )


def from_rich_text(of: Notice, parts: Sequence[Part]) -> Notice | None:
    """The same by its HTML, for mails whose plain text says nothing."""
    text, _ = _cut(_rich(parts))
    return replace(of, text=text, lower=text.lower()) if text.strip() else None


def words_of(value: str) -> str:
    """A header's value, its encoded words (RFC 2047) undone."""
    return _ENCODED_WORD.sub(_decoded_word, value) if "=?" in value else value


def _around(lines: Sequence[str], number: int, address: str) -> list[str]:
    """The line that mentions an address, the one before and three behind, without what is said of another address."""

    def is_of_others(line: str) -> bool:
        return "@" in line and address not in line.lower()

    behind = takewhile(lambda line: not is_of_others(line), lines[number + 1 : number + 1 + MAX_BEHIND])
    above = list(takewhile(str.strip, reversed(lines[max(number - MAX_ABOVE, 0) : number])))
    # The line before is another's reason where each reason stands below its address.
    are_reasons_first = above and not is_of_others(above[-1]) and not above[-1].endswith(":")
    is_its_own = are_reasons_first or not any(map(is_of_others, above))
    return [*(above[:1] if is_its_own else ()), lines[number], *behind]


def _decoded_word(found: re.Match[str]) -> str:
    charset, encoding, text = found[1].lower(), found[2].lower(), found[3]
    try:
        data = text.encode("ascii", "replace")
        raw = binascii.a2b_base64(data) if encoding == "b" else binascii.a2b_qp(data.replace(b"_", b" "), header=False)
    except binascii.Error:
        return found[0]
    return characters(raw.decode("latin-1"), charset)


def _is_plain(part: Part) -> bool:
    return part.type in {"text/plain", "text", "plain/text", "text/english"} or part.type.startswith("multipart/")


def _rich(parts: Sequence[Part]) -> str:
    found = "\n".join(part.text()[:MAX_TEXT] for part in parts if part.type == "text/html")[:MAX_TEXT]
    return plain_text(found)


def _cut(text: str) -> tuple[str, str]:
    """The text up to where the returned message begins, and the rest."""
    at = _headers(text)
    told = text[:at]
    mark = _mark(told)
    if mark is None:
        return told, text[at:]
    if at < len(text):
        return told[: mark[0]], text[at:]
    # Without headers behind it, what looks like the mark may be no more than a line about the original.
    return (text[: mark[0]], text[mark[1] :]) if "@" in text[: mark[0]] else (text, "")


def _headers(text: str) -> int:
    """Where the headers of the returned message begin, or the end."""
    start = 0
    for line in text.splitlines(keepends=True):
        if _is_header(line):
            return _first_header(text, start)
        start += len(line)
    return len(text)


def _mark(told: str) -> tuple[int, int] | None:
    """Where the line begins and ends that says that the original begins below it, and no more than that."""
    lines, start = [], 0
    for line in told.splitlines(keepends=True):
        if _stands_out(line.strip()):
            lines.append((line.lower(), start, start + len(line)))
        start += len(line)
    together = "".join(line for line, _, _ in lines)
    marks = [mark for mark in words("original") if mark in together]
    for line, at, end in lines if marks else ():
        if any(mark in line for mark in marks) and not tells("sentence", line):  # a sentence may speak of it too
            return at, end
    return None


def _stands_out(told: str) -> bool:
    is_decorated = told[:2] in {"--", "==", "**", "__", "##", "~~", "|-", "- ", "+-"}
    is_heading = is_decorated or told[-1:] in ":-=*#_.~|" or len(told) < MAX_BARE_MARK
    return is_heading and 0 < len(told) <= MAX_MARK and "@" not in told


def _is_header(line: str) -> bool:
    bare = line[:60].lstrip(" \t>|")
    if len(line[:60]) - len(bare) > MAX_INDENTED:
        return False
    low = bare.lower()
    return low.startswith(_HEADERS) or (bare == line[:60] and low.startswith(_UNQUOTED_HEADERS))


def _first_header(text: str, at: int) -> int:
    """Where the block of header lines begins of which one is at `at`."""
    while at > 0:
        before = text.rfind("\n", 0, at - 1) + 1
        line = text[before : at - 1]
        if not line.strip() or not _HEADER_LINE.match(line):
            return at
        at = before
    return at
