"""Understands delivery reports (RFC 3464, 6522, 6533) and feedback reports (RFC 5965) among returned mail."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from itertools import islice
from typing import Literal, get_args

from tracepost.bounces.classify import Cause, Stage, classify, codes
from tracepost.events import FeedbackType

MAX_HEADERS = 1000  # in one header block; real mail stays under 200
MAX_DEPTH = 8  # multiparts within one another, outside of the returned message
MAX_PARTS = 200  # MIME parts of a mail, and groups of fields of a report
MAX_VALUE = 4000  # characters of a value; the standard library's parameter parsing is quadratic

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]
Reason = Literal["too_many_headers", "too_deep", "too_many_parts", "no_report", "no_recipient", "unreadable"]


@dataclass(frozen=True, slots=True)
class Original:
    """What identifies the message that the report is about; `token` is our own header, not verified."""

    message_id_header: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient; `cause` tells something only when `action` is failed or delayed."""

    final_recipient: str | None
    original_recipient: str | None
    action: Action
    enhanced_code: str | None
    smtp_code: int | None
    diagnostic: str
    remote_mta: str | None
    cause: Cause


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    recipients: tuple[RecipientReport, ...]
    original: Original


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """A complaint, or its withdrawal; `stated_type` is the type as written, e.g. `auth-failure` for `other`."""

    feedback_type: FeedbackType
    stated_type: str
    reporter: str | None
    recipients: tuple[str, ...]
    original: Original


@dataclass(frozen=True, slots=True)
class AutoReply:
    """A person's absence or a system's receipt: neither a bounce nor a proof of reading."""


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    reason: Reason


Report = DeliveryReport | FeedbackReport | AutoReply | NotUnderstood

_NAME = r"[A-Za-z][A-Za-z0-9-]{0,70}+[ \t]*+:"
_FIELD = re.compile(rf"(?m)^({_NAME})(.*+(?:\n(?!{_NAME}).*+)*+)")
_FIRST_BOUNDARY = re.compile(r"(?mi)^--(\S{1,200})[ \t]*\n(?=content-|\n)")
_RETURNED = re.compile(r"message/(rfc822|global)(-headers?)?|text/rfc822(-headers?)?")
_TYPE = re.compile(r"^[A-Za-z][\w-]*\s*;\s*")
_ADDRESS = re.compile(r"(?:[A-Za-z][\w-]*\s*;)?\s*(?:[^<]*<)?(?:@[^:@]+:)?([^<>]*)")  # type, brackets, source route
# Only characters that must be encoded, or "user+42@…", which an MTA has already decoded, would become another address.
_XTEXT = re.compile(r"\+(2B|3D|20)")
_STATUS = re.compile(r"((?:[245]\.\d{1,3}\.\d{1,3}(?![.\d]))?)(.*)")
_ACTIONS: dict[str, Action] = {action[:4]: action for action in get_args(Action)}  # "failure" occurs, and "Delayed"
_ACTION_OF_CLASS: dict[str, Action] = {"2": "delivered", "4": "delayed", "5": "failed"}
# Postfix: "(in reply to end of DATA command)"; Exim: "after RCPT TO:<…>", "after end of data".
_ANSWERED = re.compile(r"(?i)(?:in reply to|after)(?: end of| pipelined)*+ (mail from|rcpt to|data|[he]{2}lo|initial)")
_STAGES: dict[str, Stage] = {"mail from": "mail", "rcpt to": "rcpt", "data": "data", "initial": "connect"}
_FEEDBACK: dict[str, FeedbackType] = {kind: kind for kind in get_args(FeedbackType)}
# A third of all bounces say "auto-replied" too, so whoever writes it must not be a mail system.
_DAEMON = re.compile(r"(?i)mailer.?daemon|postmaster|mail delivery|bounce")
_AUTOMATIC = re.compile(
    r"(?i)auto-submitted: auto-replied|precedence: auto[-_]?reply|x-auto(reply|respond): "
    r"|subject: (auto(matic|mated)?[ -]?(reply|response)|out of (the )?office|vacation)\b"
)


class _TooMuch(Exception):
    """Its argument is the Reason."""


def understand(mail: bytes) -> Report:
    """Read a returned mail; total, in time linear in its size, which the caller limits."""
    try:
        return _read(_part(mail.decode("ascii", "surrogateescape")))
    except _TooMuch as limit:
        return NotUnderstood(limit.args[0])
    except Exception:  # the standard library raises TypeError and more on malformed MIME parameters
        return NotUnderstood("unreadable")


def _read(mail: Message) -> Report:
    parts = tuple(islice(_leaves(mail, 0), MAX_PARTS + 1))
    if len(parts) > MAX_PARTS:
        raise _TooMuch("too_many_parts")
    for part in parts:
        match part.get_content_type():
            case "message/delivery-status" | "message/global-delivery-status":
                return _delivery_report(part, parts)
            case "message/feedback-report":
                return _feedback_report(part, parts)
    automatic = any(_AUTOMATIC.match(f"{name}: {value}") for name, value in mail.items())
    system = _DAEMON.search(mail.get("From", "")) or mail.get_content_type() == "multipart/report"
    return AutoReply() if automatic and not system else NotUnderstood("no_report")


# MIME is split here and not by the standard library's parser, which recurses into multiparts and returned messages:
# nested ones end in RecursionError, and a returned original that is itself a bounce could pass for the report.
def _part(raw: str) -> Message:
    """A header block and its body; a line that is no field continues the one before, as broken reports have it."""
    raw = raw.replace("\r\n", "\n").replace("\r", "\n")
    head, _, body = ("", "", raw[1:]) if raw.startswith("\n") else raw.partition("\n\n")
    head = head.encode("ascii", "surrogateescape").decode("utf-8", "replace")
    part = Message()
    for number, field in enumerate(_FIELD.finditer(head)):
        if number == MAX_HEADERS:
            raise _TooMuch("too_many_headers")
        part[field[1].rstrip(": \t")] = " ".join(field[2][:MAX_VALUE].split())
    part.set_payload(body)
    return part


def _body(part: Message) -> str:
    """The body, its transfer encoding undone; bytes beyond ASCII stay surrogates."""
    body = part.get_payload(decode=True)
    return body.decode("ascii", "surrogateescape") if isinstance(body, bytes) else ""


def _leaves(part: Message, depth: int) -> Iterator[Message]:
    # A whole mail may have lost its Content-Type on the way.
    multipart = part.get_content_maintype() == "multipart" or (depth == 0 and "Content-Type" not in part)
    pieces = _pieces(part) if multipart else []
    if not pieces:
        yield part
    elif depth == MAX_DEPTH:
        raise _TooMuch("too_deep")
    for piece in pieces:
        yield from _leaves(_part(piece), depth + 1)


def _pieces(part: Message) -> list[str]:
    body = _body(part)
    found = _FIRST_BOUNDARY.search(body)
    for boundary in filter(None, (part.get_boundary(), found and found[1])):  # the stated one is not always in use
        delimiter = rf"(?m)^[ \t]?--{re.escape(boundary)}(?:--)?[ \t]*(?:\n|\Z)"
        if pieces := re.split(delimiter, body, maxsplit=MAX_PARTS + 1)[1:]:
            return pieces
    return []


def _original(parts: Sequence[Message]) -> Original:
    returned = next((_part(_body(part)) for part in parts if _RETURNED.fullmatch(part.get_content_type())), Message())
    return Original(returned.get("Message-ID") or None, "".join(returned.get("Tracepost-Token", "").split()) or None)


def _delivery_report(part: Message, parts: Sequence[Message]) -> Report:
    texts = re.split(r"\n(?:[ \t]*+\n)++", _body(part).replace("\r", "").strip("\n"), maxsplit=MAX_PARTS)
    if len(texts) > MAX_PARTS:
        raise _TooMuch("too_many_parts")
    groups = [group for group in map(_part, texts) if "Action" in group or "Final-Recipient" in group]
    # Exim and Gmail give some causes only in the words to people, which do not say whom of several they are about.
    human = next((_body(part) for part in parts if part.get_content_type() == "text/plain"), "")[:MAX_VALUE]
    reports = dict.fromkeys(_recipient(group, human if len(groups) == 1 else "") for group in groups)
    recipients = tuple(report for report in reports if report)
    return DeliveryReport(recipients, _original(parts)) if recipients else NotUnderstood("no_recipient")


def _recipient(fields: Message, human: str) -> RecipientReport | None:
    """One group of per-recipient fields; None if it does not say what happened."""
    status, comment = _STATUS.findall(fields.get("Status", ""))[0]
    action = _ACTIONS.get(fields.get("Action", "")[:4].lower()) or _ACTION_OF_CLASS.get(status[:1])
    if not action:
        return None
    diagnostic = fields.get("Diagnostic-Code", "")
    words = _TYPE.sub("", diagnostic) or comment.strip(" ()")
    smtp, enhanced = (None, None) if diagnostic.lower().startswith("x-unix") else codes(words)  # exit codes are none
    code = next((code for code in (status, enhanced) if code and not code.endswith(".0.0")), status or enhanced) or None
    answered = _ANSWERED.search(words or human)
    stage = _STAGES.get(answered[1].lower(), "ehlo") if answered else None
    original = _XTEXT.sub(lambda found: chr(int(found[1], 16)), fields.get("Original-Recipient", ""))
    return RecipientReport(
        final_recipient=_address(fields.get("Final-Recipient", "")),
        original_recipient=_address(original),
        action=action,
        enhanced_code=code,
        smtp_code=smtp,
        diagnostic=words,
        remote_mta=_TYPE.sub("", fields.get("Remote-MTA", "")).partition(" ")[0] or None,
        cause=classify(words or human, smtp, code, stage),
    )


def _address(value: str) -> str | None:
    return _ADDRESS.findall(value)[0].strip() or None


def _feedback_report(part: Message, parts: Sequence[Message]) -> Report:
    fields = _part(_body(part).strip("\n"))
    stated = fields.get("Feedback-Type", "").lower()
    reporter = _TYPE.sub("", fields["Reporting-MTA"] or fields["User-Agent"] or fields.get("Source-IP", ""))
    named = tuple(dict.fromkeys(filter(None, map(_address, fields.get_all("Original-Rcpt-To", [])))))
    return FeedbackReport(_FEEDBACK.get(stated, "other"), stated, reporter or None, named, _original(parts))
