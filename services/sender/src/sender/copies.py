"""What makes a copy its recipient's own: Message-ID, return path, pixel; pure."""

from __future__ import annotations

import re
from uuid import UUID

from sender.compose import Links
from tracepost import tokens
from tracepost.events import Tracking
from tracepost.requests import SendRequest
from tracepost.tokens import Keyring

_NO_IDENTIFIER = re.compile(r"[^\w.-]+", re.ASCII)


def rfc_message_id(message_id: UUID, domain: str) -> str:
    """One Message-ID for all copies, so that threads stay whole."""
    return f"<{message_id}@{domain}>"


def feedback_id(request: SendRequest, app: str, sender_id: str) -> str | None:
    """What Gmail counts complaints by: the first tag, the app, and who we are; None if we are nobody."""
    if not sender_id:
        return None
    return ":".join(_NO_IDENTIFIER.sub("-", part)[:60] for part in (*request.tags[:1], app, sender_id))


def links(
    keyring: Keyring,
    message_id: UUID,
    recipient_no: int,
    recipient: str,
    tracking: Tracking,
    bounce_domain: str,
    pixel_url: str,
) -> Links:
    """The links of one copy."""
    flags = tokens.TRACK_DAY if tracking == "day" else tokens.TRACK_FULL
    pixel = tokens.to_url(keyring.pixel(message_id, recipient_no, flags))
    return Links(
        rfc_message_id=rfc_message_id(message_id, bounce_domain),
        return_token=tokens.to_local_part(keyring.return_path(message_id, recipient_no, recipient)),
        pixel_url=None if tracking == "off" else f"{pixel_url.rstrip('/')}/o/{pixel}.gif",
    )
