"""Reads complaints: feedback reports (RFC 5965), and what providers wrote before and beside them."""

from __future__ import annotations

import re
from typing import get_args

from bounce_ingest.reading.addresses import address
from bounce_ingest.reading.notice import MAX_TEXT, Notice
from bounce_ingest.reading.parts import Part, unfolded
from bounce_ingest.reading.values import FeedbackReport, Original
from bounce_ingest.reading.wording import tells
from tracepost.bounces.values import FeedbackType

MAX_LOOKED_AT = 2000  # characters

_TYPE = re.compile(r"^[A-Za-z][\w-]*\s*;\s*")
_FEEDBACK: dict[str, FeedbackType] = {kind: kind for kind in get_args(FeedbackType)}


def from_part(body: str, original: Original) -> FeedbackReport:
    """Of the text of a message/feedback-report."""
    stated = unfolded(body.strip("\n").replace("\n\n", "\n"))

    def first(name: str) -> str:
        return stated[name][0] if name in stated else ""

    kind = first("feedback-type").lower()
    reporter = _TYPE.sub("", first("reporting-mta") or first("user-agent") or first("source-ip"))
    named = tuple(dict.fromkeys(filter(None, map(address, stated.get("original-rcpt-to", ())))))
    return FeedbackReport(_FEEDBACK.get(kind, "other"), kind, reporter or None, named, original)


# Hotmail's and Outlook.com's junk mail reporting: a mail whose only sign is a header in the attached original.
_RETURNED_BY_PROVIDER = re.compile(r"(?mi)^x-hmxmroriginalrecipient[ \t]*:[ \t]*(\S+)")
# AOL before 2006, and all who copied it; feedback reports whose MIME structure was lost.
_SUBJECT = re.compile(
    r"(?i)^(?:\W*(?:fwd?|re)\b\W*)?(?:e-?mail feedback report|client tos notification|complaint about message from"
    r"|(?:spam|abuse|e-?mail abuse|junk) (?:report|complaint)\b|\[?x-arf\b|user complaint|\[spamcop \()"
)
_WORDS = re.compile(
    r"(?i)this is an? (?:[\w.!-]+ ){0,3}(?:e-?mail )?(?:abuse|spam|fraud|virus|opt-?out|complaint) report "
    r"(?:for|about|of|on)\b"
    r"|(?:reported|marked|flagged) (?:it|this message|your message|the (?:following|attached|enclosed) message"
    r"|an e-?mail (?:message )?from you(?:r \w+)?) as (?:spam|junk|abus)"
    r"|complaint (?:about|regarding) (?:an?|the) (?:e-?mail|message) (?:you sent|sent from|originating)"
)
_STATED = re.compile(r"(?mi)^[ \t>]*feedback-type[ \t]*:[ \t]*[\"']?([\w-]{3,20})")
_OPT_OUT = re.compile(r"(?i)sent this (?:e-?mail|message) to unsubscribe from|^\W*unsubscribe\W*$")


def elsewhere(mail: Part, told: Notice) -> FeedbackReport | None:
    """A complaint without a feedback report; None if there is none."""
    notice, subject, original = told.text, told.subject, told.returned.original
    if "feedback-type" in told.lower and (stated := _STATED.search(notice)):
        return from_part(notice[stated.start() :], original)
    if marked := _RETURNED_BY_PROVIDER.search(told.inner[:MAX_TEXT]):
        return FeedbackReport("abuse", "", "Microsoft", tuple(filter(None, (address(marked[1]),))), original)
    is_reported = told.inner and (_SUBJECT.match(subject) or tells("complaint", told.lower[:MAX_LOOKED_AT]))
    if mail.get("x-arf") or is_reported or _WORDS.search(notice[:MAX_LOOKED_AT]):
        return FeedbackReport("abuse", "", mail.get("from") or None, (), original)
    if _OPT_OUT.search(notice[:500].strip()) or (_OPT_OUT.match(subject) and len(notice) < 500):
        return FeedbackReport("opt-out", "", None, (), original)
    return None
