"""Reads the notifications that Amazon SES sends by SNS as mail: JSON in JSON, as its developer guide describes them."""

from __future__ import annotations

import json
import re
from typing import Any

from bounce_ingest.reading.diagnosis import recipient
from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.values import Action, DeliveryReport, FeedbackReport, Original, Report
from tracepost.bounces.values import FeedbackType

_FOLDED = re.compile(r"!?\n[ \t]?")  # long lines are broken on the way
_FEEDBACK: dict[str, FeedbackType] = {"abuse": "abuse", "fraud": "fraud", "virus": "virus", "not-spam": "not-spam"}


def read(notice: Notice) -> Report | None:
    """What a notification reports; None for any other mail."""
    if not notice.text.lstrip().startswith("{") or "otificationType" not in notice.text:
        return None
    told = _notification(notice.text.lstrip())
    try:
        return _report(told)
    except (LookupError, TypeError, AttributeError):  # members are missing, or are of another type: it is none
        return None


def _report(told: dict[str, Any]) -> Report | None:
    match told.get("notificationType") or told.get("eventType"):
        case "Bounce":
            return _bounce(told)
        case "Complaint":
            return _complaint(told)
        case "Delivery":
            return _delivery(told)
        case _:
            return None


def _notification(text: str) -> dict[str, Any]:
    decoder = json.JSONDecoder(strict=False)
    for each in (text, _FOLDED.sub("", text)):
        try:
            found, _ = decoder.raw_decode(each)
            told = json.loads(found["Message"]) if "Message" in found else found
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(told, dict):
            return told
    return {}


def _bounce(told: dict[str, Any]) -> DeliveryReport | None:
    bounce = told["bounce"]
    action: Action = "failed"
    named = tuple(
        recipient(
            final=_text(each["emailAddress"]),
            action=action,
            words=_text(each.get("diagnosticCode")).removeprefix("smtp;"),
            status=_text(each.get("status")),
            remote_mta=None,
            context=(f"{bounce.get('bounceType', '')} {bounce.get('bounceSubType', '')}",),
        )
        for each in bounce["bouncedRecipients"]
    )
    return DeliveryReport(named, _original(told), "amazon-ses") if named else None


def _complaint(told: dict[str, Any]) -> FeedbackReport:
    complaint = told["complaint"]
    stated = _text(complaint.get("complaintFeedbackType")) or "abuse"
    named = tuple(_text(each["emailAddress"]) for each in complaint.get("complainedRecipients", ()))
    reporter = _text(complaint.get("userAgent")) or None
    return FeedbackReport(_FEEDBACK.get(stated, "other"), stated, reporter, named, _original(told))


def _delivery(told: dict[str, Any]) -> DeliveryReport | None:
    delivery = told["delivery"]
    named = tuple(
        recipient(final=_text(each), action="delivered", words=_text(delivery.get("smtpResponse")))
        for each in delivery.get("recipients", ())
    )
    return DeliveryReport(named, _original(told), "amazon-ses") if named else None


def _original(told: dict[str, Any]) -> Original:
    headers = {each["name"].lower(): _text(each["value"]) for each in told.get("mail", {}).get("headers", ())}
    return Original(headers.get("message-id"), headers.get("tracepost-token"))


def _text(value: object) -> str:
    """A member's text, or nothing where it is null or missing; TypeError for any other value."""
    if not isinstance(value, str | None):
        raise TypeError
    return value or ""
