"""Postmark's webhooks, which are not signed: the caller shows a secret, as basic authentication or in a header.

Sources: https://postmarkapp.com/developer/webhooks/webhooks-overview
and https://postmarkapp.com/developer/api/bounce-api#bounce-types
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.causes import held_back, refusal
from bounce_ingest.webhooks.signatures import decoded, is_one_of, refuse, refusing
from bounce_ingest.webhooks.values import Call, Ignored, Strange, Telling, Told, Trust
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, Opened

NAME, ORIGIN = "postmark", "webhook:postmark"

METADATA = "tracepost_token"  # of X-PM-Metadata-…
SECRET_HEADER = "tracepost-secret"  # noqa: S105 - a header's name
LEAST_SECRET = 16  # characters: nothing else protects these calls

# What a bounce's Type means where the server's words are not understood.
_BOUNCES: Mapping[str, str | None] = {
    "HardBounce": "invalid_recipient",
    "BadEmailAddress": "invalid_recipient",
    "SoftBounce": None,
    "Blocked": "listed",
    "SpamNotification": "spam_content",
    "VirusNotification": "virus",
    "DMARCPolicy": "auth",
    "SMTPApiError": "system",
    "TemplateRenderingFailed": "system",
    "Unknown": None,
}
_DELAYS: Mapping[str, str] = {"Transient": "network", "DnsError": "dns_temporary"}
_NOT_TRIED = {"ManuallyDeactivated", "Unconfirmed"}
_IGNORED: Mapping[str, str] = {
    "AutoResponder": "an automatic reply is no bounce",
    "AddressChange": "an automatic reply is no bounce",
    "ChallengeVerification": "a challenge to the sender is no bounce",
    "OpenRelayTest": "it is about Postmark's servers",
    "InboundError": "it is about mail that comes in",
    "Subscribe": "it adds nobody to the suppression list",
    "Click": "clicks are not tracked",
    "Inbound": "it is about mail that comes in",
}
# The moment of each kind of record.
_TIMES = ("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt")


def secret(text: str) -> str:
    """What a caller shows; ValueError if it could be guessed."""
    if len(text) < LEAST_SECRET:
        raise ValueError(f"has {len(text)} characters; write at least {LEAST_SECRET}, user:password or any text")
    return text


@refusing
def verify(secrets: Collection[str], call: Call) -> Trust:
    """Look for one of the secrets: `user:password` by basic authentication, or any text in our header."""
    scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
    shown = decoded(credentials.strip()).decode() if scheme.lower() == "basic" else call.headers.get(SECRET_HEADER, "")
    if not is_one_of(secrets, shown):
        raise refuse(
            f"give Postmark a URL with user:password, or the header {SECRET_HEADER}, of WEBHOOK_POSTMARK_SECRETS"
        )
    return "genuine"


def elements(call: Call) -> list[object]:
    """The one record."""
    return [fields.document(call.body)]


def tell(element: object) -> Telling:
    """What the record tells."""
    record = fields.text(element, "RecordType")
    kind = fields.text(element, "Type") if record == "Bounce" else record
    if why := _IGNORED.get(kind) or _why_nothing(kind, element):
        return Ignored(why)
    data = _data(kind, element)
    if data is None:
        return Strange("unknown_event")
    when = next(filter(None, (fields.text(element, name) for name in _TIMES)), "")
    told = Told(
        key=f"{fields.text(element, 'MessageID')}/{record}/{fields.text(element, 'ID') or when}",
        data=data,
        at=fields.iso(when),
        recipient=fields.text(element, "Email") or fields.text(element, "Recipient") or None,
        tokens=(fields.text(element, "Metadata", METADATA),),
    )
    return [told]


def _why_nothing(kind: str, element: object) -> str | None:
    """Why a change of the suppression list says nothing of the message, if it does not."""
    if kind != "SubscriptionChange":
        return None
    if fields.at(element, "SuppressSending") is not True:
        return "it adds nobody to the suppression list"
    by_hand = fields.text(element, "SuppressionReason") == "ManualSuppression"
    return "a customer or Postmark did it" if by_hand and fields.text(element, "Origin") != "Recipient" else None


def _data(kind: str, element: object) -> Data | None:
    words = fields.text(element, "Details")  # of the server; what stands in Description explains the type
    match kind:
        case "Delivery":
            return Delivered(response=words, origin=ORIGIN)
        case "Open":
            client = fields.text(element, "Client", "Name") or None
            return Opened(verdict="unknown", rule=f"{NAME}-open", client=client, origin=ORIGIN)
        case "SpamComplaint":
            return Complained(feedback_type="abuse", origin=ORIGIN)
        case "Unsubscribe":
            return Complained(feedback_type="opt-out", origin=ORIGIN)
        case "SubscriptionChange":
            return _changed(element)
        case _ if kind in _NOT_TRIED:
            return Bounced(**held_back(NAME, words or fields.text(element, "Description")))
        case _ if kind in _DELAYS:
            return Deferred(**refusal(NAME, words, otherwise=_DELAYS[kind]))
        case _ if kind in _BOUNCES:
            return Bounced(**refusal(NAME, words, otherwise=_BOUNCES[kind]))
    return None


def _changed(element: object) -> Data | None:
    """By SuppressionReason; streams for broadcasts tell of bounces in no other way."""
    match fields.text(element, "SuppressionReason"):
        case "HardBounce":
            return Bounced(**refusal(NAME, "", otherwise="invalid_recipient"))
        case "SpamComplaint":
            return Complained(feedback_type="abuse", origin=ORIGIN)
        case "ManualSuppression":
            return Complained(feedback_type="opt-out", origin=ORIGIN)
    return None
