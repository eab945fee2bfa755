"""Reads a notice line by line, and tells of every address in it what its place says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from bounce_ingest.reading.addresses import ADDRESS
from bounce_ingest.reading.wording import one_of, tells

MAX_REASON = 30  # lines
MAX_IN_LINE = 100  # addresses
MAX_BEFORE = 120  # characters before an address that say what it is

# How sure it is that an address in such a place is one that failed.
LISTED = 5  # it stands in a list of them, or begins a line that goes on with the reason
ANSWERED = 4  # a server's answer or a label names it
TOLD = 3  # a sentence about failure names it
GUESSED = 2  # it is named


@dataclass(slots=True)
class Found:
    """An address, how sure it is, and what is said about it."""

    address: str
    sureness: int
    words: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """What is said, as one text."""
        return "\n".join(self.words)


_COLON = ":\N{FULLWIDTH COLON}"
_DASHES = "\N{EN DASH}\N{EM DASH}-"  # the last in a class
_OPENING = "\N{LEFT DOUBLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}«"
_CLOSING = "\N{RIGHT DOUBLE QUOTATION MARK}»"
_MARKS = rf"[ \t>*•·+|\"'`(\[{{{_OPENING}{_DASHES}]{{0,30}}"
_BEGINS = re.compile(
    rf"{_MARKS}(?:\d{{1,3}}[.)]\s{{1,3}})?(?:(?:rfc822|smtp|mailto|dda:smtp=|address=)\s?[;:]?\s?)?"
    rf"(?:[\w\"' .,-]{{1,60}}?\s?<|\"[^\"\n]{{1,60}}\"\s?<|<)?(?:mailto:|smtp:)?(?P<address>{ADDRESS})(?P<after>.*)",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    rf"[>\"')\]}}{_CLOSING}]{{0,3}}\s{{0,3}}"
    rf"(?:$|<|\.\.\.|[:;,.({{\[|=!{_DASHES}]|on (?:mon|tue|wed|thu|fri|sat|sun|\d)|\t|\s\s)",
    re.IGNORECASE,
)
_BETWEEN = rf"[\s<\"'(\[{_OPENING}]*"
_LABEL = re.compile(
    rf"{one_of('label')}\s*(?:[=>{_COLON}]|\bis\b|\bwas\b){_BETWEEN}(?:rfc822;|smtp:|mailto:)?\s*<?$", re.IGNORECASE
)
_WEAK_LABEL = re.compile(rf"^\W*{one_of('weak_label')}\s*[{_COLON}]\s*(?:.{{0,60}}<)?{_BETWEEN}$", re.IGNORECASE)
_OBJECT = re.compile(rf"(?:{one_of('object')}|[;,」「'\"{_CLOSING}{_COLON}]){_BETWEEN}:?$", re.IGNORECASE)
_ORIGINATOR = re.compile(rf"{one_of('originator')}[\s=<\"'(\[{_COLON}]{{0,8}}$", re.IGNORECASE)
_HEADER = re.compile(
    r"\s*(?:message-id|in-reply-to|references|from|sender|reply-to|return-path|received|date|subject|sent|von|cc|de"
    rf"|x-[\w-]+|list-[\w-]+|errors-to|mime-version|(?:original-)?envelope-id)\s*[{_COLON}]",
    re.IGNORECASE,
)
_ANSWER = re.compile(rf"(?:^|[\s:'\"<(])(?:[45]\d\d|[45]\.\d\.\d{{1,3}})[ -][^@\n]{{0,80}}?<?(?P<address>{ADDRESS})")
_COMMAND = re.compile(rf"RCPT\s+TO\s*:\s*<?\s*(?P<address>{ADDRESS})", re.IGNORECASE)
_REFUSED = re.compile(r"(?:^|[^\d])[45]\d\d(?:[ -]|$)")
_DETAIL = re.compile(r"\s*[A-Za-z][A-Za-z ]{1,20}: ")
_SECTION = re.compile(r"\s*[-=*_#|+~]{2,}")
_ADDRESS = re.compile(ADDRESS)
_JOINED = re.compile(rf"[>\s\"']{{0,4}}(?:,|;|and\b|und\b|et\b|&)[\s<\"']{{0,8}}(?P<address>{ADDRESS})")
_GLUED = re.compile(r"^(?:(?:address|recipient|rcpt|to|smtp|mailto)=|['`*|={/.&?!#-])+", re.IGNORECASE)


class Reader:
    """What the lines so far make of the next one."""

    def __init__(self) -> None:
        self._listing = False  # addresses that stand alone are a list of those that failed
        self._asking = False  # addresses that stand alone are of those who help
        self._after_blank = True
        self._before = ""
        self._current: Found | None = None  # to which the reason that follows belongs
        self._asked: str | None = None  # the recipient of an SMTP command that has no answer yet

    def read(self, line: str, after: str) -> list[Found]:
        """The addresses of a line before another; the reason of a listed one grows with the lines that follow."""
        bare = line.strip()
        if not bare:
            self._after_blank = True
            return []
        found = [*self._dialogue(line, bare), *(self._addresses(line, after) if "@" in line else ())]
        listed = next((each for each in found if each.sureness == LISTED), None)
        if listed:
            self._current = listed
        elif found:
            self._tell(bare)
        else:
            self._words(line, bare)
        self._after_blank, self._before = False, bare
        return found

    def _dialogue(self, line: str, bare: str) -> Iterator[Found]:
        """The recipient of a command in a transcript, once its answer is a refusal; or of a command among details."""
        asked = _COMMAND.search(line)
        if asked and _REFUSED.search(line, asked.end()):
            yield Found(clean(asked["address"]), ANSWERED, [bare])
        elif self._asked and _REFUSED.search(line):
            yield Found(self._asked, ANSWERED, [bare])
        elif self._asked and not asked and _DETAIL.match(line):
            yield Found(self._asked, ANSWERED)
        self._asked = clean(asked["address"]) if asked else None

    def _words(self, line: str, bare: str) -> None:
        """A line without an address that counts: it announces a list, ends one, or gives a reason."""
        low = bare.lower()
        if tells("contact", low) and not tells("failure", low):
            self._listing, self._asking, self._current = False, True, None
        elif (announces := _announces(low)) or _SECTION.match(line):
            self._listing, self._asking, self._current = announces, False, None
        elif not self._after_blank or (line[:1] in " \t" and not self._has_words()):
            self._tell(bare)
        else:
            self._current = None

    def _has_words(self) -> bool:
        return self._current is not None and bool(self._current.words)

    def _tell(self, bare: str) -> None:
        if self._current is not None and len(self._current.words) < MAX_REASON:
            self._current.words.append(bare)

    def _addresses(self, line: str, after: str) -> Iterator[Found]:
        low = line.lower()
        if _HEADER.match(line) or tells("success", low):
            return
        begins = _BEGINS.match(line)
        if begins and not _is_of_others(before := line[: begins.start("address")]):
            listing = self._listing or (not self._asking and _introduces(self._before))
            if listing or _GOES_ON.match(begins["after"]):
                first = self._first(line, before, begins, listing=listing)
                yield from (first, *_joined(line, begins.end("address"), first))
                return
        yield from _within(line, fails=tells("failure", low) or tells("failure", after.lower()))

    def _first(self, line: str, before: str, begins: re.Match[str], *, listing: bool) -> Found:
        """An address that begins its line."""
        after = begins["after"].lstrip(" \t>\"')]}:;,.|-")
        told = begins["after"].lstrip(" \t>\"')")
        sure = listing or told.startswith((":", "[", "...")) or (bool(after) and tells("failure", after.lower()))
        words = line.strip() if _REFUSED.search(before) else after
        sureness = LISTED if sure else GUESSED if after or self._asking else TOLD
        return Found(clean(begins["address"]), sureness, [words] if words else [])


def _within(line: str, *, fails: bool) -> Iterator[Found]:
    """Addresses in the midst of a line."""
    answer, is_command = _ANSWER.search(line), _COMMAND.search(line) is not None
    for each in islice(_ADDRESS.finditer(line), MAX_IN_LINE):
        before = line[max(each.start() - MAX_BEFORE, 0) : each.start()]
        if is_command or _ORIGINATOR.search(before):
            continue
        if _LABEL.search(before):
            first = Found(clean(each[0]), ANSWERED, [line[each.end() :].lstrip(" >,;:.")])
            yield from (first, *_joined(line, each.end(), first))
        elif _asks(before):
            continue
        elif answer and answer.start("address") == each.start():
            yield Found(clean(each[0]), ANSWERED, [line.strip()])
        elif fails and not _WEAK_LABEL.search(before) and _OBJECT.search(before):
            first = Found(clean(each[0]), TOLD, [line.strip()])
            yield from (first, *_joined(line, each.end(), first))
        else:
            yield Found(clean(each[0]), GUESSED)


def _joined(line: str, end: int, first: Found) -> Iterator[Found]:
    """The addresses that are named in one breath with the one that ends there."""
    for _ in range(MAX_IN_LINE):
        if not (more := _JOINED.match(line, end)):
            return
        yield Found(clean(more["address"]), first.sureness, [*first.words])
        end = more.end()


def _announces(low: str) -> bool:
    """Whether addresses that follow are those that failed."""
    end = low.rstrip(" -=*|#_")[-1:]
    is_heading = (bool(end) and end in _COLON) or low.startswith(("--", "==", "**", "|-", "- "))
    hints = is_heading or "following" in low or "以下" in low
    return hints and tells("announcement", f" {low}") and not tells("success", low)


def _introduces(before: str) -> bool:
    """Whether an address that stands alone below this line is one that failed."""
    low = before.lower()
    return tells("failure", low) and tells("announcement", f" {low}") and not tells("success", low)


def _is_of_others(before: str) -> bool:
    return bool(_ORIGINATOR.search(before)) or _asks(before)


def _asks(before: str) -> bool:
    """Whether it says whom to ask; an address itself may hold such words."""
    return tells("contact", _ADDRESS.sub("@", before).lower())


def clean(address: str) -> str:
    """An address without what stood right before it."""
    return _GLUED.sub("", address)
