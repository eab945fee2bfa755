"""Tells what machines write that is no report: absences, receipts, challenges, a list's own mail (RFC 3834)."""

from __future__ import annotations

import re

from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.parts import Part
from bounce_ingest.reading.values import AutoReply
from bounce_ingest.reading.wording import tells

# A third of all bounces say "auto-replied" too, so whoever writes it must not be a mail system.
_REPLIED = re.compile(
    r"(?i)auto-submitted: *auto-(?:replied|notified)|(?:precedence|preference): *auto[-_]?reply"
    r"|delivered-to: *autoresponder"
    r"|x-(?:auto(?:-?reply\w*|-?respond\w*|-response|generated-reply)|mail-autoreply|vacation): |x-loop: *autorespon"
)


def automatic(mail: Part, notice: Notice) -> AutoReply | None:
    """Of a mail that no mail system wrote; None if a person may have written it."""
    subject = notice.subject.lower()
    if tells("subscription", subject):
        return AutoReply("subscription")
    replied = any(_REPLIED.match(f"{name}: {value}") for name, values in mail.fields.items() for value in values)
    if tells("challenge", subject) or (
        (replied or "auto-submitted" in mail.fields) and tells("challenge", notice.lower[:1500])
    ):
        return AutoReply("challenge")
    if replied or tells("automatic", subject):
        return AutoReply()
    return None
