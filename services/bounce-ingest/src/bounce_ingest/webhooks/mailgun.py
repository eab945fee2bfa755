"""Mailgun's webhooks: HMAC-SHA256 over timestamp and token, which leaves the event itself unsigned.

Sources: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
and https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-types
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from hashlib import sha256

from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.causes import held_back, refusal
from bounce_ingest.webhooks.replays import Replays
from bounce_ingest.webhooks.signatures import is_signed, refuse, refusing, trust
from bounce_ingest.webhooks.values import Call, Ignored, Refused, Strange, Telling, Told, Trust
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, Opened, Verdict

NAME, ORIGIN = "mailgun", "webhook:mailgun"

VARIABLE = "tracepost_token"  # of X-Mailgun-Variables

_REASONS: Mapping[str, str] = {"greylisted": "greylisted", "old": "expired"}
# client-info.bot: https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/open-click-bot-detect
_MACHINES: Mapping[str, Verdict] = {"": "unknown", "apple": "prefetched", "gmail": "prefetched"}
_IGNORED: Mapping[str, str] = {
    "accepted": "Mailgun has taken it, as the sender knows",
    "stored": "it is about mail that comes in",
    "clicked": "clicks are not tracked",
    "list_member_uploaded": "it is about a mailing list of Mailgun's",
    "list_member_upload_error": "it is about a mailing list of Mailgun's",
    "list_uploaded": "it is about a mailing list of Mailgun's",
    "email_validation": "it is about an address, not about a message",
}


@refusing
def verify(keys: Collection[bytes], replays: Replays, call: Call) -> Trust:
    """Hold the signature against the keys; the parent account's will do for an event of a subaccount."""
    signed = fields.at(fields.document(call.body), "signature")
    timestamp, token = fields.text(signed, "timestamp"), fields.text(signed, "token")
    signatures = [fields.text(signed, name) for name in ("signature", "parent-signature")]
    message = f"{timestamp}{token}".encode()
    if not any(is_signed(keys, "sha256", message, _hex(each)) for each in signatures):
        raise refuse("put the HTTP webhook signing key into WEBHOOK_MAILGUN_KEYS")
    # Whoever has seen one call could put another event behind its signature.
    if not replays.is_first(token, sha256(call.body).digest(), call.at):
        raise Refused("replayed", "the token has come before, with another event")
    return trust(call.at, fields.epoch(timestamp))


def _hex(signature: str) -> bytes:
    return bytes.fromhex(signature)


def elements(call: Call) -> list[object]:
    """The one event."""
    return [fields.at(fields.document(call.body), "event-data")]


def tell(element: object) -> Telling:
    """What the event tells."""
    kind = fields.text(element, "event")
    if why := _IGNORED.get(kind):
        return Ignored(why)
    data = _data(kind, element)
    if data is None:
        return Strange("unknown_event")
    at = fields.epoch(fields.at(element, "timestamp"))
    told = Told(
        key=f"{at.date()}/{fields.text(element, 'id')}",  # which is unique within a day only
        data=data,
        at=at,
        recipient=fields.text(element, "recipient") or None,
        tokens=(
            fields.text(element, "user-variables", VARIABLE),
            fields.return_path(element, "envelope", "sender"),
        ),
        message_id_header=fields.text(element, "message", "headers", "message-id"),
    )
    return [told]


def _data(kind: str, element: object) -> Data | None:
    match kind:
        case "delivered":
            return _delivered(fields.at(element, "delivery-status"))
        case "failed":
            return _failed(element)
        case "rejected":
            return Bounced(**held_back(NAME, fields.text(element, "reject", "reason")))
        case "opened":
            bot = fields.text(element, "client-info", "bot")
            rule = f"{NAME}-machine-open" if bot else f"{NAME}-open"
            client = fields.text(element, "client-info", "client-name") or None
            return Opened(verdict=_MACHINES.get(bot, "bot"), rule=rule, client=client, origin=ORIGIN)
        case "complained":
            return Complained(feedback_type="abuse", origin=ORIGIN)
        case "unsubscribed":
            return Complained(feedback_type="opt-out", origin=ORIGIN)
    return None


def _delivered(status: object) -> Delivered:
    return Delivered(
        attempt=fields.number(status, "attempt-no"),
        smtp_code=fields.number(status, "code"),
        response=fields.text(status, "message"),
        remote_mta=fields.text(status, "mx-host") or None,
        tls="TLS" if fields.at(status, "tls") is True else None,
        origin=ORIGIN,
    )


def _failed(element: object) -> Bounced | Deferred:
    status, reason = fields.at(element, "delivery-status"), fields.text(element, "reason")
    said = fields.text(status, "message") or fields.text(status, "description")
    if reason.startswith("suppress-"):
        return Bounced(**held_back(NAME, f"{reason}: {said}"))
    code = fields.text(status, "code")
    words = said if said.startswith(code) else f"{code} {said}"
    found = refusal(NAME, words, status=fields.text(status, "enhanced-code"), category=_REASONS.get(reason))
    found |= {"attempt": fields.number(status, "attempt-no"), "remote_mta": fields.text(status, "mx-host") or None}
    if fields.text(element, "severity") != "temporary":
        return Bounced(**found)
    seconds = fields.number(status, "retry-seconds")
    at = fields.epoch(fields.at(element, "timestamp"))
    return Deferred(**found, next_attempt_at=None if seconds is None else at + timedelta(seconds=seconds))
