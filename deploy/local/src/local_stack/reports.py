"""The mails that come back: delivery reports (RFC 3464), feedback reports (RFC 5965), auto-replies (RFC 3834); pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.parser import BytesHeaderParser
from email.utils import format_datetime, localtime, make_msgid

HOST = "mx.simulator.test"

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Mail:
    """What was accepted, and for whom."""

    return_path: str
    recipient: str
    content: bytes


def returned(mail: Mail, recipient: str = "") -> bytes:
    """There is no such user: the mail's recipient, or whoever it was forwarded to."""
    about = recipient or mail.recipient
    reply = f"550 5.1.1 <{about}>: Recipient address rejected: User unknown in local recipient table"
    return delivery_report(mail.content, mail.return_path, about, "5.1.1", reply)


def complaint(mail: Mail, kind: str = "abuse", *, redacted: bool = False) -> bytes:
    """The recipient's word on the mail."""
    return feedback_report(mail.content, mail.return_path, mail.recipient, kind, redacted=redacted)


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
    head = _head(f"MAILER-DAEMON@{HOST}", return_path, "Undelivered Mail Returned to Sender")
    return _report("delivery-status", head, words, groups, "rfc822", original)


def feedback_report(
    original: bytes, return_path: str, recipient: str, kind: str = "abuse", *, redacted: bool = False
) -> bytes:
    """A complaint, as a provider passes it on to whoever signed up for its feedback loop.

    `redacted`: nothing in it names the recipient, as many providers have it for the sake of privacy.
    """
    named = [("Original-Mail-From", f"<{return_path}>"), ("Original-Rcpt-To", f"<{recipient}>")]
    about = [
        ("Feedback-Type", kind),
        ("User-Agent", "Simulator-FBL/1.0"),
        ("Version", "1"),
        *([] if redacted else named),
        ("Reporting-MTA", f"dns; {HOST}"),
    ]
    if redacted:
        original = original.replace(recipient.encode(), b"redacted")
    words = f"{'Somebody' if redacted else recipient} reported this message.\n"
    head = _head(f"feedback@{HOST}", return_path, "Complaint about a message from you")
    return _report("feedback-report", head, words, [_fields(about)], "rfc822", original)


def absence(mail: Mail) -> bytes:
    """What a mailbox answers by itself while its owner is away."""
    about = BytesHeaderParser().parsebytes(mail.content)
    reply = MIMEText("I am out of the office until Monday.\n")
    head = _head(mail.recipient, mail.return_path, "Out of office")
    for name, value in (*head, ("In-Reply-To", about.get("Message-ID", ""))):
        reply[name] = value
    return _bytes(reply)


def _head(sender: str, to: str, subject: str) -> Fields:
    return [
        ("From", f"Simulator <{sender}>"),
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
    enclosed = MIMEBase("message", returned_as)
    enclosed.set_payload([message_from_bytes(original)])
    for part in (MIMEText(words), status, enclosed):
        report.attach(part)
    return _bytes(report)


def _bytes(message: Message) -> bytes:
    return message.as_bytes(policy=policy.compat32.clone(linesep="\r\n"))


def _fields(fields: Fields) -> Message:
    group = Message()
    for name, value in fields:
        group[name] = value
    return group
