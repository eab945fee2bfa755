"""Finds who a notice is about by the shapes that servers everywhere give it, whatever program wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from bounce_ingest.reading.addresses import ADDRESS, spelling
from bounce_ingest.reading.lines import GUESSED, Found, Reader, clean
from bounce_ingest.reading.notice import MAX_LINES, Notice
from bounce_ingest.reading.wording import tells

MAX_RECIPIENTS = 500

_ADDRESS = re.compile(ADDRESS)
_WORD = re.compile(r"[\w.+-]+")


def find(notice: Notice) -> list[Found]:
    """Those that the surest places of the notice name, each once."""
    own = _own(notice)
    strangers = {name: each for name, each in named(notice).items() if name not in own}
    pool = _without_helpers(notice, strangers)
    best = max((each.sureness for each in pool.values()), default=0)
    if best <= GUESSED:
        return _guess(notice, pool)
    return [each for each in pool.values() if each.sureness == best][:MAX_RECIPIENTS]


def named(notice: Notice) -> dict[str, Found]:
    """Every address of text and subject by its spelling, with the surest of its places and all that is said of it."""
    reader = Reader()
    lines = notice.text.splitlines()[:MAX_LINES]
    inside = [each for line, after in pairwise([*lines, ""]) for each in reader.read(line, after)]
    inside += [Found(clean(each), GUESSED) for each in _ADDRESS.findall(notice.subject)]
    found: dict[str, Found] = {}
    for each in inside:
        known = found.setdefault(spelling(each.address), each)
        if known is not each:
            known.sureness = max(known.sureness, each.sureness)
            known.words += each.words
    return found


def _own(notice: Notice) -> set[str]:
    """Those to whom the report is sent, unless they wrote to themselves."""
    own = {spelling(each) for each in (*notice.to, *notice.returned.sender)}
    return own - {spelling(each) for each in notice.returned.to}


def _without_helpers(notice: Notice, pool: Mapping[str, Found]) -> Mapping[str, Found]:
    """Without postmasters whom people are told to ask, in whatever language, where somebody else is named."""
    to = {spelling(each) for each in notice.returned.to}
    others = {name: each for name, each in pool.items() if name in to or not name.startswith("postmaster@")}
    return others or pool


def _guess(notice: Notice, pool: Mapping[str, Found]) -> list[Found]:
    """Without a sure place: what the returned message was addressed to, if the notice agrees or there is one only."""
    if tells("success", notice.lower):
        return []
    to = {spelling(each): each for each in notice.returned.to}
    if named := [each for name, each in pool.items() if name in to]:
        return named
    words = set(_WORD.findall(notice.lower))
    by_local_part = [Found(each, GUESSED) for name, each in to.items() if name.partition("@")[0] in words]
    if len(by_local_part) == 1:
        return by_local_part
    if pool:
        return list(pool.values()) if len(pool) == 1 else []
    return [Found(each, GUESSED) for each in to.values()] if len(to) == 1 else []
