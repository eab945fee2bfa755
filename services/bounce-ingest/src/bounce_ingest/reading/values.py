"""What a returned mail can mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracepost.bounces.classify import Cause
from tracepost.bounces.values import FeedbackType

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]
Reason = Literal[
    "too_large", "too_many_headers", "too_deep", "too_many_parts", "no_report", "no_recipient", "unreadable"
]


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
    """`format` names what read it: `rfc3464`, an entry of formats.toml, or a general shape."""

    recipients: tuple[RecipientReport, ...]
    original: Original
    format: str = "rfc3464"


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """A complaint, or its withdrawal; `stated_type` is the type as written, e.g. `auth-failure` for `other`."""

    feedback_type: FeedbackType
    stated_type: str
    reporter: str | None
    recipients: tuple[str, ...]
    original: Original


@dataclass(frozen=True, slots=True)
class DispositionReport:
    """What a recipient's mail client did with the message (RFC 8098), e.g. `displayed`, by a person's act or not."""

    disposition: str
    by_hand: bool
    client: str | None
    final_recipient: str | None
    original_recipient: str | None
    original: Original


@dataclass(frozen=True, slots=True)
class AutoReply:
    """Neither a bounce nor a proof of reading: a person's absence, a challenge to the sender, a list's own mail."""

    category: Literal["auto_reply", "challenge", "subscription"] = "auto_reply"


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Kept for a person to look at."""

    reason: Reason


Report = DeliveryReport | FeedbackReport | DispositionReport | AutoReply | NotUnderstood
