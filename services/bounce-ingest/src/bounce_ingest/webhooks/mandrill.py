"""Mandrill's webhooks: a form, signed by HMAC-SHA1 over the URL and the sorted fields.

Sources: https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/
and https://mandrill.zendesk.com/hc/en-us/articles/360039232513-How-to-Authenticate-Webhook-Requests
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.causes import held_back, refusal
from bounce_ingest.webhooks.signatures import decoded, is_signed, refuse, refusing
from bounce_ingest.webhooks.values import Call, Ignored, Refused, Strange, Telling, Told, Trust
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, Opened

NAME, ORIGIN = "mandrill", "webhook:mandrill"

METADATA = "tracepost_token"  # of X-MC-Metadata
MOST_FIELDS = 20

_SIGNATURE = "x-mandrill-signature"
_EVENTS = "mandrill_events"

# msg.bounce_description
_BOUNCES: Mapping[str, str] = {
    "bad_mailbox": "invalid_recipient",
    "invalid_domain": "bad_domain",
    "mailbox_full": "mailbox_full",
    "message_too_large": "too_large",
    "spam": "spam_content",
    "relay_denied": "relay_denied",
}
_IGNORED: Mapping[str, str] = {
    "send": "Mandrill has taken it, as the sender knows",
    "click": "clicks are not tracked",
    "inbound": "it is about mail that comes in",
    "allowlist": "it is about Mandrill's lists, not about a message",
    "whitelist": "it is about Mandrill's lists, not about a message",
    "denylist": "it is about Mandrill's lists, not about a message",
    "blacklist": "it is about Mandrill's lists, not about a message",
}


@refusing
def verify(keys: Collection[bytes], url: str, call: Call) -> Trust:
    """Hold the signature against the keys; `url` is the webhook's as Mandrill knows it. No time is signed."""
    form = sorted(_form(call))
    message = url + "".join(name + value for name, value in form)
    if not is_signed(keys, "sha1", message.encode(), decoded(call.headers[_SIGNATURE])):
        raise refuse("WEBHOOK_MANDRILL_KEYS and, letter by letter, WEBHOOK_MANDRILL_URL must be what Mandrill shows")
    return "genuine"


def _form(call: Call) -> list[tuple[str, str]]:
    return parse_qsl(call.body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)


def elements(call: Call) -> list[object]:
    """The events of a batch."""
    found = dict(_form(call)).get(_EVENTS)
    if found is None:
        raise Refused("not-a-batch", f"the form has no field {_EVENTS}")
    return fields.batch(found)


def tell(element: object) -> Telling:
    """What one event tells."""
    kind = fields.text(element, "event") or fields.text(element, "type")
    if why := _IGNORED.get(kind):
        return Ignored(why)
    message = fields.at(element, "msg")
    data = _data(kind, element, message)
    if data is None:
        return Strange("unknown_event")
    at = fields.epoch(fields.at(element, "ts"))
    told = Told(
        key=f"{fields.text(element, '_id')}/{kind}/{at.timestamp():.0f}",  # _id is the message's
        data=data,
        at=at,
        recipient=fields.text(message, "email") or None,
        tokens=(fields.text(message, "metadata", METADATA),),
    )
    return [told]


def _data(kind: str, element: object, message: object) -> Data | None:
    match kind:
        case "delivered":
            return Delivered(response=_last(message), origin=ORIGIN)
        case "deferral":
            return Deferred(**refusal(NAME, _last(message)))
        case "hard_bounce" | "soft_bounce":
            described = fields.text(message, "bounce_description")
            words = fields.text(message, "diag") or described.replace("_", " ")
            otherwise = "invalid_recipient" if kind == "hard_bounce" and not fields.text(message, "diag") else None
            return Bounced(**refusal(NAME, words, category=_BOUNCES.get(described), otherwise=otherwise))
        case "reject":
            reason = fields.at(message, "reject")
            words = fields.text(reason, "reason") if isinstance(reason, dict) else fields.text(reason)
            return Bounced(**held_back(NAME, words or "rejected"))
        case "open":
            client = fields.text(element, "user_agent_parsed", "ua_family") or None
            return Opened(verdict="unknown", rule=f"{NAME}-open", client=client, origin=ORIGIN)
        case "spam":
            return Complained(feedback_type="abuse", origin=ORIGIN)
        case "unsub":
            return Complained(feedback_type="opt-out", origin=ORIGIN)
    return None


def _last(message: object) -> str:
    """What the server said at the last attempt."""
    said = [fields.text(each, "diag") for each in fields.items(message, "smtp_events")]
    return next(filter(None, reversed(said)), fields.text(message, "diag"))
