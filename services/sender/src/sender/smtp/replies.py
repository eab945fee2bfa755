"""Reads a mail server's replies from bytes as they come (RFC 5321 4.2), within bounds; pure."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

# RFC 5321 sets 512 octets for a line; servers put longer words there.
MOST_OCTETS = 4096
MOST_LINES = 100
MOST_CHARACTERS = 4000  # of a reply's words are kept

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")


class Garbage(Exception):
    """What came is no SMTP reply, or is one without end."""


class Answer(NamedTuple):
    """A whole reply: its code, and the words of each line."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """The words as people may see them: a line break between lines, no other control characters."""
        words = b"\n".join(self.lines)[: 4 * MOST_CHARACTERS].decode("utf-8", "replace")
        return _CONTROL.sub("\ufffd", words)[:MOST_CHARACTERS]

    @property
    def refuses(self) -> bool:
        """It says no, for now or for good."""
        return 400 <= self.code < 600


class Parser:
    """Collects whole replies in `answers`; what came before garbage stays there."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self._rest = b""
        self._lines: list[bytes] = []

    @property
    def pending(self) -> bool:
        """Part of a reply has come."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> None:
        """Take what came next; raises Garbage, after which nothing more may be fed."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line)
        _bounded(self._rest)

    def _take(self, line: bytes) -> None:
        _bounded(line)
        found = _LINE.fullmatch(line.removesuffix(b"\r"))
        if found is None:
            raise Garbage(f"the server said what is no SMTP reply: {_shown(line)}")
        code, separator, words = found.groups()
        self._lines.append(words or b"")
        if separator != b"-":
            # Where the lines of a reply differ in their codes, the last one counts, as with other clients.
            self.answers.append(Answer(int(code), tuple(self._lines)))
            self._lines.clear()
        elif len(self._lines) == MOST_LINES:
            raise Garbage(f"a reply has more than {MOST_LINES} lines")


def keywords(answer: Answer) -> dict[str, str]:
    """What an answer to EHLO offers, in upper case, with the parameters: {"SIZE": "10240000", "PIPELINING": ""}."""
    offers = (Answer(answer.code, (line,)).text.strip().partition(" ") for line in answer.lines[1:])
    return {keyword.upper(): parameters.strip().upper() for keyword, _, parameters in offers if keyword}


def _bounded(line: bytes) -> None:
    if len(line) > MOST_OCTETS:
        raise Garbage(f"a reply has a line of more than {MOST_OCTETS} octets")


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("ascii", "backslashreplace"))
