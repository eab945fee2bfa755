"""Tells what machines write that is no report: absences, receipts, challenges, a list's own mail (RFC 3834)."""

from __future__ import annotations

import re

from bounce_ingest.reading.mail_system import is_daemon, is_mail_system, reports_failure
from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.parts import Part
from bounce_ingest.reading.values import AutoReply
from bounce_ingest.reading.wording import tells

MAX_LOOKED_AT = 1500  # characters

# A third of all bounces say "auto-replied" too, so whoever writes it must not be a mail system.
_REPLIED = re.compile(
    r"(?i)auto-submitted: *auto-(?:replied|notified)|(?:precedence|preference): *auto[-_]?reply"
    r"|delivered-to: *autoresponder"
    r"|x-(?:auto(?:-?reply\w*|-?respond\w*|-response|generated-reply)|mail-autoreply|vacation): |x-loop: *autorespon"
)


def automatic(mail: Part, notice: Notice) -> AutoReply | None:
    """What a machine wrote for somebody; None if a person, or a mail system about a failure, may have written it."""
    subject = notice.subject.lower()
    if tells("subscription", subject) and not tells("subject", subject):
        return AutoReply("subscription")
    says_automatic = tells("automatic", subject) and not tells("subject", subject) and not is_daemon(mail)
    if not says_automatic and is_mail_system(mail) and reports_failure(mail, notice):
        return None
    headers = [f"{name}: {value}" for name, values in mail.fields.items() for value in values]
    replied = any(map(_REPLIED.match, headers))
    asks = (replied or "auto-submitted" in mail.fields) and tells("challenge", notice.lower[:MAX_LOOKED_AT])
    if asks or tells("challenge", subject):
        return AutoReply("challenge")
    return AutoReply() if replied or says_automatic else None
