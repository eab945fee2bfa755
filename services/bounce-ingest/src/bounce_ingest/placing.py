"""Decides what becomes of a mail that was read: events about a delivery, or a place in quarantine; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from bounce_ingest.facts import delivery, facts
from bounce_ingest.parsers.values import Unparsed
from bounce_ingest.quarantine.values import Held, Reason
from bounce_ingest.report import (
    AutoReply,
    DeliveryReport,
    DispositionReport,
    FeedbackReport,
    NotUnderstood,
    Report,
)
from tracepost.events import AnyEvent
from tracepost.tokens import Claim, Keyring

MOST_HEAD = 64 * 1024  # bytes in which the subject is looked for
MOST_SUBJECT = 1_000  # characters of it, before it is decoded

_SUBJECT = re.compile(rb"(?im)^subject:[ \t]*([^\n]*(?:\n[ \t][^\n]*){0,20})")


def place(
    report: Report | Unparsed, mail: bytes, way: str, claim: Claim | None, keyring: Keyring
) -> Sequence[AnyEvent] | Held:
    """The events that it tells, perhaps none; or why it is held. `claim` is that of its return path, if it had one."""

    def held(reason: Reason, detail: str) -> Held:
        return Held(reason, way, mail, detail, subject(mail), claim=claim)

    match report:
        case Unparsed(reason):
            return held("parser_failed", reason)
        case NotUnderstood(reason):
            return held("not_understood", reason)
        case AutoReply():
            return []
        case (
            DeliveryReport(original=original) | FeedbackReport(original=original) | DispositionReport(original=original)
        ):
            if about := delivery(report, claim, keyring):
                return facts(report, about, keyring, mail)
            return held("untrusted", "token_not_genuine") if original.token else held("unplaced", "no_token")


def kind(report: Report | Unparsed) -> str:
    """What it is, in a word."""
    match report:
        case DeliveryReport():
            return "delivery-report"
        case FeedbackReport():
            return "feedback-report"
        case DispositionReport():
            return "disposition-report"
        case AutoReply():
            return "auto-reply"
        case NotUnderstood() | Unparsed():
            return "not-understood"


def subject(mail: bytes) -> str:
    """The subject as people read it; of a mail that nobody can read, what looks like one."""
    found = _SUBJECT.search(mail[:MOST_HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0])
    if not found:
        return ""
    written = " ".join(found[1].decode(errors="replace").split())[:MOST_SUBJECT]
    try:
        return str(make_header(decode_header(written)))
    except (HeaderParseError, LookupError, ValueError):
        return written
