"""Reads the formats that formats.toml describes, each by its own entry."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from bounce_ingest.reading.addresses import ADDRESS
from bounce_ingest.reading.lines import ANSWERED, GUESSED, Found
from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.shapes import MAX_RECIPIENTS, find
from bounce_ingest.reading.values import Action

Reading = tuple[str, list[Found], Action | None]
"""By which format, whom, and what became of them if the format says so."""


@dataclass(frozen=True, slots=True)
class Format:
    """Applies when every condition that it states holds; `recipients` has the group `address` and may have `words`."""

    name: str
    sender: re.Pattern[str] | None
    subject: re.Pattern[str] | None
    text: tuple[str, ...]
    begin: re.Pattern[str] | None
    end: re.Pattern[str] | None
    recipients: re.Pattern[str] | None
    action: Action | None


@cache
def formats() -> tuple[Format, ...]:
    """Every entry, in the order in which they are tried."""
    data = tomllib.loads(files(__package__).joinpath("formats.toml").read_text("utf-8"))
    return tuple(_format(entry) for entry in data["format"])


def _format(entry: dict[str, Any]) -> Format:
    def pattern(key: str, flags: re.RegexFlag) -> re.Pattern[str] | None:
        return re.compile(entry[key], flags) if key in entry else None

    return Format(
        entry["name"],
        sender=pattern("from", re.IGNORECASE),
        subject=pattern("subject", re.IGNORECASE),
        text=tuple(entry["text"]),
        begin=pattern("begin", re.MULTILINE),
        end=pattern("end", re.MULTILINE),
        recipients=_recipients(entry["recipients"]) if "recipients" in entry else None,
        action=entry.get("action"),
    )


def _recipients(stated: str) -> re.Pattern[str]:
    return re.compile(stated.replace("{address}", f"(?P<address>{ADDRESS})"), re.MULTILINE)


def read(notice: Notice, without: AbstractSet[str]) -> Reading | None:
    """By the first format that applies and names somebody; those named in `without` are passed over."""
    for each in formats():
        if each.name not in without and _applies(each, notice) and (found := _found(each, notice)):
            return each.name, found, each.action
    return None


def _applies(of: Format, notice: Notice) -> bool:
    return (
        any(words in notice.text for words in of.text)
        and (of.sender is None or of.sender.search(notice.sender) is not None)
        and (of.subject is None or of.subject.search(notice.subject) is not None)
    )


def _found(of: Format, notice: Notice) -> list[Found]:
    text = notice.text
    if of.begin:
        begun = of.begin.search(text)
        text = text[begun.end() :] if begun else ""
    if of.end and (ended := of.end.search(text)):
        text = text[: ended.start()]
    if of.recipients is None:
        return [each for each in find(replace(notice, text=text, lower=text.lower())) if each.sureness > GUESSED]
    return _matched(of.recipients, text)


def _matched(recipients: re.Pattern[str], text: str) -> list[Found]:
    """A recipient's words are those of its match and all up to the next one."""
    matches = list(recipients.finditer(text))[:MAX_RECIPIENTS]
    ends = [*(match.start() for match in matches[1:]), len(text)] if matches else []
    found: dict[str, Found] = {}
    for match, end in zip(matches, ends, strict=True):
        address = match["address"].strip()
        words = text[match.start("words") : end] if "words" in recipients.groupindex else text[match.end() : end]
        found.setdefault(address.lower(), Found(address, ANSWERED, [words.strip()]))
    return list(found.values())
