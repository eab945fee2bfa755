"""Reads the notifications that Amazon SES sends by SNS as mail: JSON in JSON, as its developer guide describes them."""

from __future__ import annotations

import json
import re
from typing import Any

from bounce_ingest.reading.diagnosis import recipient
from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.values import Action, DeliveryReport, FeedbackReport, Original, Report
from tracepost.events import FeedbackType

_FOLDED = re.compile(r"!?\n[ \t]?")  # long lines are broken on the way
_FEEDBACK: dict[str, FeedbackType] = {"abuse": "abuse", "fraud": "fraud", "virus": "virus", "not-spam": "not-spam"}


def read(notice: Notice) -> Report | None:
    """What a notification reports; None for any other mail."""
    if not notice.text.lstrip().startswith("{") or "otificationType" not in notice.text:
        return None
    told = _notification(notice.text.lstrip())
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
            final=each["emailAddress"],
            action=action,
            words=str(each.get("diagnosticCode", "")).removeprefix("smtp;"),
            status=str(each.get("status", "")),
            remote_mta=None,
            context=(f"{bounce.get('bounceType', '')} {bounce.get('bounceSubType', '')}",),
        )
        for each in bounce["bouncedRecipients"]
    )
    return DeliveryReport(named, _original(told), "amazon-ses") if named else None


def _complaint(told: dict[str, Any]) -> FeedbackReport:
    complaint = told["complaint"]
    stated = str(complaint.get("complaintFeedbackType") or "abuse")
    named = tuple(each["emailAddress"] for each in complaint.get("complainedRecipients", ()))
    return FeedbackReport(_FEEDBACK.get(stated, "other"), stated, complaint.get("userAgent"), named, _original(told))


def _delivery(told: dict[str, Any]) -> DeliveryReport | None:
    delivery = told["delivery"]
    named = tuple(
        recipient(final=each, action="delivered", words=str(delivery.get("smtpResponse", "")))
        for each in delivery.get("recipients", ())
    )
    return DeliveryReport(named, _original(told), "amazon-ses") if named else None


def _original(told: dict[str, Any]) -> Original:
    headers = {each["name"].lower(): each["value"] for each in told.get("mail", {}).get("headers", ())}
    return Original(headers.get("message-id"), headers.get("tracepost-token"))
