"""The mails that recipients' servers send back: delivery reports (RFC 3464) and feedback reports (RFC 5965); pure."""

from __future__ import annotations

from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, localtime, make_msgid

HOST = "mx.simulator.test"

Fields = Sequence[tuple[str, str]]


def delivery_report(original: bytes, return_path: str, recipient: str, code: str, reply: str) -> bytes:
    """A failure that the server found out after it had accepted the message; `code` is 5.x.y, `reply` a whole reply."""
    about = [("Reporting-MTA", f"dns; {HOST}"), ("Arrival-Date", format_datetime(localtime()))]
    outcome = [
        ("Final-Recipient", f"rfc822; {recipient}"),
        ("Action", "failed"),
        ("Status", code),
        ("Diagnostic-Code", f"smtp; {reply}"),
    ]
    words = f"Your message could not be delivered.\n\n<{recipient}>: {reply}\n"
    groups = [_fields(about), _fields(outcome)]
    head = _head("MAILER-DAEMON", return_path, "Undelivered Mail Returned to Sender")
    return _report("delivery-status", head, words, groups, "rfc822", original)


def feedback_report(original: bytes, return_path: str, recipient: str, kind: str = "abuse") -> bytes:
    """A complaint, as a provider passes it on to whoever signed up for its feedback loop."""
    about = [
        ("Feedback-Type", kind),
        ("User-Agent", "Simulator-FBL/1.0"),
        ("Version", "1"),
        ("Original-Mail-From", f"<{return_path}>"),
        ("Original-Rcpt-To", f"<{recipient}>"),
        ("Reporting-MTA", f"dns; {HOST}"),
    ]
    head = _head("feedback", return_path, "Complaint about a message from you")
    return _report(
        "feedback-report", head, f"{recipient} reported this message.\n", [_fields(about)], "rfc822", original
    )


def _head(sender: str, to: str, subject: str) -> Fields:
    return [
        ("From", f"Simulator <{sender}@{HOST}>"),
        ("To", to),
        ("Subject", subject),
        ("Date", format_datetime(localtime())),
        ("Message-ID", make_msgid(domain=HOST)),
        ("Auto-Submitted", "auto-replied"),
    ]


def _report(kind: str, head: Fields, words: str, groups: Sequence[Message], returned_as: str, original: bytes) -> bytes:
    report = MIMEMultipart("report", report_type=kind)
    for name, value in head:
        report[name] = value
    status = MIMEBase("message", kind)
    status.set_payload(list(groups))
    returned = MIMEBase("message", returned_as)
    returned.set_payload([message_from_bytes(original)])
    for part in (MIMEText(words), status, returned):
        report.attach(part)
    return report.as_bytes(policy=policy.compat32.clone(linesep="\r\n"))


def _fields(fields: Fields) -> Message:
    group = Message()
    for name, value in fields:
        group[name] = value
    return group
