"""Places what a provider tells: an event about the delivery that our token names, or what quarantine keeps; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from bounce_ingest.quarantine.values import Held
from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.values import REASONS, Ignored, Provider, Strange, Told, Trust, Why
from tracepost.addresses import normal
from tracepost.events import AnyEvent, Bounced, Data, derived_id, event
from tracepost.tokens import Claim, Keyring, from_local_part

_OUR_MESSAGE_ID = re.compile(r"<?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})@")

Placed = Sequence[AnyEvent | Held] | Ignored


def placed(name: str, provider: Provider, element: object, trust: Trust, keyring: Keyring, now: datetime) -> Placed:
    """What comes of one element of a genuine call; the same element again gives events with the same ids."""
    try:
        told = provider.tell(element)
    except (TypeError, ValueError, LookupError):
        told = Strange("unreadable_event")
    match told:
        case Ignored():
            return told
        case Strange(why):
            return [_held(name, element, why)]
        case _ if trust == "stale":
            return [_held(name, element, "stale_call")]
        case _:
            return [_placed(name, each, element, keyring, now) for each in told]


def _placed(name: str, told: Told, element: object, keyring: Keyring, now: datetime) -> AnyEvent | Held:
    claim = _claim(told.tokens, keyring)
    if claim is None:
        return _held(name, element, "bad_token" if any(told.tokens) else "no_token")
    if why := _why_not(told, claim, keyring):
        return _held(name, element, why, claim)
    about = claim.message_id, claim.recipient_no
    identity = derived_id("webhook", name, told.key, normal(told.recipient or ""), *about)
    time = min(told.at, now)  # nothing has happened yet that a provider's clock sees ahead
    return event("bounce-ingest", *about, _of_ours(told, claim, keyring), id=identity, time=time)


def _held(name: str, element: object, why: Why, claim: Claim | None = None) -> Held:
    subject = f"{name}: {why.replace('_', ' ')}"
    raw = fields.raw(element)
    return Held(REASONS[why], f"webhook:{name}", raw, why, subject, content_type="application/json", claim=claim)


def _claim(tokens: Iterable[str], keyring: Keyring) -> Claim | None:
    """Of the first genuine token; some providers' fields admit no plus sign."""
    for token in tokens:
        marked = token if token.lower().startswith("b+") else f"b+{token}"
        if claim := keyring.verify("return-path", from_local_part(marked)):
            return claim
    return None


def _why_not(told: Told, claim: Claim, keyring: Keyring) -> Why | None:
    """A token proves nothing about another message, nor about another recipient than its own."""
    if _another_message(told.message_id_header, claim.message_id):
        return "other_message"
    if _is_ours(told, claim, keyring) or (told.forwards and isinstance(told.data, Bounced)):
        return None
    return "other_recipient"


def _another_message(header: str, message_id: UUID) -> bool:
    found = _OUR_MESSAGE_ID.match(header.strip())
    with suppress(ValueError):
        return found is not None and UUID(found[1]) != message_id
    return False


def _is_ours(told: Told, claim: Claim, keyring: Keyring) -> bool:
    return told.recipient is None or keyring.names(claim, told.recipient)


def _of_ours(told: Told, claim: Claim, keyring: Keyring) -> Data:
    """The data; of a dead forward, behind which nothing is wrong with our recipient, no more than that."""
    if _is_ours(told, claim, keyring) or not isinstance(told.data, Bounced):
        return told.data
    forward = {"bounce_class": "soft", "certainty": "candidate", "forwarded_to": told.recipient or "unknown"}
    return told.data.model_copy(update=forward)
