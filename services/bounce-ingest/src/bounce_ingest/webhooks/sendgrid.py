"""SendGrid's signed event webhook: ECDSA on P-256 over the timestamp and the body as it came.

Sources: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
and https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.causes import held_back, refusal
from bounce_ingest.webhooks.signatures import decoded, refuse, refusing, trust
from bounce_ingest.webhooks.values import Call, Ignored, Strange, Telling, Told, Trust
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, Opened

NAME, ORIGIN = "sendgrid", "webhook:sendgrid"

ARGUMENT = "tracepost_token"  # of custom_args, or of unique_args in X-SMTPAPI

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

# bounce_classification
_CLASSIFIED: Mapping[str, str] = {
    "invalid address": "invalid_recipient",
    "mailbox unavailable": "mailbox_disabled",
    "content": "content",
    "reputation": "ip_reputation",
    "frequency or volume too high": "rate",
    "technical": "system",
    "technical failure": "system",
}
# Why it was not even tried, where that is not SendGrid's own suppression list.
_DROPPED: Mapping[str, str] = {"invalid": "invalid_recipient", "spam content": "spam_content"}
_IGNORED: Mapping[str, str] = {
    "processed": "SendGrid has taken it, as the sender knows",
    "click": "clicks are not tracked",
    "group_resubscribe": "it adds nobody to the suppression list",
    "account_status_change": "it is about the account, not about a message",
}


def public_key(text: str) -> EllipticCurvePublicKey:
    """The verification key as SendGrid shows it: base64 of a SubjectPublicKeyInfo; ValueError for anything else."""
    try:
        key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("it is no verification key of SendGrid; copy it from the webhook's security features")
    return key


@refusing
def verify(keys: Iterable[EllipticCurvePublicKey], call: Call) -> Trust:
    """Hold the call's signature against the keys."""
    timestamp = call.headers[_TIMESTAMP]
    signature = decoded(call.headers[_SIGNATURE])
    if not any(_is_signed(key, signature, timestamp.encode() + call.body) for key in keys):
        raise refuse("turn the signed event webhook on, and put its verification key into WEBHOOK_SENDGRID_KEYS")
    return trust(call.at, fields.epoch(timestamp))


def _is_signed(key: EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def elements(call: Call) -> list[object]:
    """The events of a batch."""
    return fields.batch(call.body)


def tell(element: object) -> Telling:
    """What one event tells."""
    kind = fields.text(element, "event")
    if why := _IGNORED.get(kind):
        return Ignored(why)
    data = _data(kind, element)
    if data is None:
        return Strange("unknown_event")
    at = fields.epoch(fields.at(element, "timestamp"))
    # sg_event_id is another one when SendGrid tries again: https://github.com/sendgrid/sendgrid-nodejs/issues/1435
    message = fields.text(element, "sg_message_id") or fields.text(element, "sg_event_id")
    told = Told(
        key=f"{message}/{kind}/{at.timestamp():.0f}/{fields.text(element, 'attempt')}",
        data=data,
        at=at,
        recipient=fields.text(element, "email") or None,
        tokens=(fields.text(element, ARGUMENT),),
        message_id_header=fields.text(element, "smtp-id"),
    )
    return [told]


def _data(kind: str, element: object) -> Data | None:
    attempt = fields.number(element, "attempt")
    words = fields.text(element, "reason") or fields.text(element, "response")
    match kind:
        case "delivered":
            ip = fields.text(element, "ip") or None
            tls = "TLS" if fields.text(element, "tls") == "1" else None
            return Delivered(response=words, remote_ip=ip, tls=tls, origin=ORIGIN)
        case "deferred":
            return Deferred(**refusal(NAME, words), attempt=attempt)
        case "bounce" | "blocked":
            status, classified = fields.text(element, "status"), fields.text(element, "bounce_classification")
            return Bounced(**refusal(NAME, words, status=status, category=_CLASSIFIED.get(classified.lower())))
        case "dropped":
            return Bounced(**held_back(NAME, words, _DROPPED.get(words.lower(), "policy")))
        case "open":
            is_machine = fields.at(element, "sg_machine_open") is True  # Apple Mail Privacy Protection
            rule = f"{NAME}-machine-open" if is_machine else f"{NAME}-open"
            return Opened(verdict="prefetched" if is_machine else "unknown", rule=rule, origin=ORIGIN)
        case "spamreport":
            return Complained(feedback_type="abuse", origin=ORIGIN)
        case "unsubscribe" | "group_unsubscribe":
            return Complained(feedback_type="opt-out", origin=ORIGIN)
    return None
