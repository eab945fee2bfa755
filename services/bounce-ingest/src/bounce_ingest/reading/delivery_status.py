"""Reads delivery reports as RFC 3464 has them (RFC 6533 for addresses beyond ASCII), wherever their fields stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import get_args

from bounce_ingest.reading import shapes
from bounce_ingest.reading.addresses import address, spelling, xtext
from bounce_ingest.reading.diagnosis import recipient
from bounce_ingest.reading.lines import Found
from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.parts import MAX_PARTS, TooMuch, fields, unfolded
from bounce_ingest.reading.values import Action, RecipientReport

Fields = Mapping[str, Sequence[str]]

_TYPE = re.compile(r"^[A-Za-z][\w-]*\s*;\s*")
_STATUS = re.compile(r"((?:[245]\.\d{1,3}\.\d{1,3}(?![.\d]))?)(.*)")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*+\n)++")
_INLINE = re.compile(r"(?mi)^[ \t>|*-]*((?:final|original)-recipient|action)[ \t]*:")
_MARKS = re.compile(r"(?m)^[ \t>|*-]+")
_ACTIONS: dict[str, Action] = {action[:4]: action for action in get_args(Action)}  # "failure" occurs, and "Delayed"
_ACTION_OF_CLASS: dict[str, Action] = {"2": "delivered", "4": "delayed", "5": "failed"}


def from_part(body: str, notice: Notice) -> tuple[RecipientReport, ...]:
    """Of the body of a message/delivery-status, whose characters are bytes."""
    groups = _of_recipients([fields(text) for text in _groups(body)])
    # Exim and OpenSMTPD give some causes, and Gmail some words, only in what they tell people.
    is_bare = any("diagnostic-code" not in group for group in groups)
    return _recipients(groups, notice, shapes.named(notice) if is_bare else {})


def from_text(notice: Notice) -> tuple[RecipientReport, ...]:
    """Of a text in which the fields stand among words."""
    text = notice.text
    if "-recipient" not in notice.lower and "action" not in notice.lower:
        return ()
    begun = _INLINE.search(text)
    if not begun:
        return ()
    start = text.rfind("\n\n", 0, begun.start()) + 1
    groups = [unfolded(group) for group in _groups(_MARKS.sub("", text[start:]))]
    return _recipients(_of_recipients(groups), notice, {})


def names_an_address(report: RecipientReport) -> bool:
    """Whether it names a mailbox; some servers name a program, a file or a host."""
    names = filter(None, (report.final_recipient, report.original_recipient))
    return any(name.rpartition("@")[0].strip() and name[0] not in "|/:@" for name in names)


def _groups(body: str) -> list[str]:
    texts = _BLANK_LINES.split(body.strip("\n"), maxsplit=MAX_PARTS)
    if len(texts) > MAX_PARTS:
        raise TooMuch("too_many_parts")
    return texts


def _of_recipients(groups: Sequence[Fields]) -> list[Fields]:
    return [group for group in groups if "action" in group or "final-recipient" in group]


def _recipients(groups: Sequence[Fields], notice: Notice, said: Mapping[str, Found]) -> tuple[RecipientReport, ...]:
    reports = dict.fromkeys(_recipient(group, notice, said, len(groups)) for group in groups)
    return tuple(report for report in reports if report)


def _recipient(group: Fields, notice: Notice, said: Mapping[str, Found], of: int) -> RecipientReport | None:
    """One group of per-recipient fields; None if it does not say what happened."""
    final = address(_first(group, "final-recipient"))
    status, comment = _STATUS.findall(_first(group, "status"))[0]
    action = _ACTIONS.get(_first(group, "action")[:4].lower()) or _ACTION_OF_CLASS.get(status[:1])
    if not action:
        return None
    diagnostic = " ".join(group.get("diagnostic-code", ()))
    told = said.get(spelling(final or ""))
    words = _TYPE.sub("", diagnostic) or comment.strip(" ()") or (told.reason if told else "")
    if action == "delayed" and _is_given_up(group, status, words):
        action = "failed"
    return recipient(
        final=final,
        original=address(xtext(_first(group, "original-recipient"))),
        action=action,
        words=words,
        status=status,
        remote_mta=_TYPE.sub("", _first(group, "remote-mta")).partition(" ")[0] or None,
        with_codes=not diagnostic.lower().startswith("x-unix"),  # exit codes are none
        context=notice.context(final, of),
    )


def _is_given_up(group: Fields, status: str, words: str) -> bool:
    """Whether what is called delayed has had its time, as OpenSMTPD writes of envelopes that expired."""
    return status.endswith(".4.7") and "expired" in words.lower() and "will-retry-until" not in group


def _first(group: Fields, name: str) -> str:
    values = group.get(name)
    return values[0] if values else ""
