"""Standard Webhooks, for senders of one's own: `v1` (HMAC-SHA256) and `v1a` (Ed25519), with our own names for events.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.causes import refusal
from bounce_ingest.webhooks.signatures import decoded, is_signed, refuse, refusing, trust
from bounce_ingest.webhooks.values import Call, Refused, Telling, Told, Trust
from tracepost.bounces.values import FeedbackType
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, EnhancedCode, Opened
from tracepost.problems import faults

NAME, ORIGIN = "standard", "webhook:standard"

Key = bytes | Ed25519PublicKey
Words = Annotated[str, StringConstraints(max_length=4_000)]


class Said(BaseModel):
    """The `data` of an event; only `token` is needed, and what does not belong to its type is not looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: Words
    recipient: Words | None = None
    smtp_code: Annotated[int, Field(ge=200, le=599)] | None = None
    enhanced_code: EnhancedCode | None = None
    diagnostic: Words = Field("", description="the remote server's own words, by which the cause is found")
    remote_mta: Words | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    feedback_type: FeedbackType = Field("abuse", description="of a complaint")
    verdict: Literal["unknown", "bot", "prefetched"] = Field("unknown", description="of an open")
    client: Words | None = None


class Payload(BaseModel):
    """What a sender of one's own posts: `timestamp` is the event's, that of the header is the call's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: Literal["delivered", "deferred", "bounced", "complained", "unsubscribed", "opened"]
    timestamp: AwareDatetime
    data: Said


def key(text: str) -> Key:
    """A secret (`whsec_…`) or an Ed25519 public key (`whpk_…`) in base64; ValueError for anything else."""
    prefix, _, encoded = text.partition("_")
    try:
        raw = decoded(encoded)
        if prefix == "whpk":
            return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raw = b""
    if prefix != "whsec" or not 24 <= len(raw) <= 64:
        raise ValueError("write whsec_<base64 of 24 to 64 random bytes>, or whpk_<base64 of an Ed25519 public key>")
    return raw


@refusing
def verify(keys: Iterable[Key], call: Call) -> Trust:
    """Hold any of the call's signatures against any of the keys."""
    name, timestamp = call.headers["webhook-id"], call.headers["webhook-timestamp"]
    if not name or "." in name:
        raise refuse("webhook-id must be there, without a full stop")
    message = f"{name}.{timestamp}.".encode() + call.body
    shown = [each.partition(",") for each in call.headers["webhook-signature"].split(" ")]
    if not any(_is_signed(each, version, message, signature) for each in keys for version, _, signature in shown):
        raise refuse("sign with a secret of WEBHOOK_STANDARD_KEYS")
    return trust(call.at, fields.epoch(timestamp))


def _is_signed(key: Key, version: str, message: bytes, signature: str) -> bool:
    if isinstance(key, bytes):
        return version == "v1" and is_signed((key,), "sha256", message, decoded(signature))
    if version != "v1a":
        return False
    try:
        key.verify(decoded(signature), message)
    except InvalidSignature:
        return False
    return True


def elements(call: Call) -> list[object]:
    """The one event, with the id that it keeps when it is sent again; Refused names every fault of it."""
    posted = fields.document(call.body)
    try:
        Payload.model_validate(posted)
    except ValidationError as error:
        told = "; ".join(f"{each.pointer or '/'} {each.detail}" for each in faults(error))
        raise Refused("invalid", told) from None
    return [{"id": call.headers["webhook-id"], "event": posted}]


def tell(element: object) -> Telling:
    """What the event tells."""
    event = Payload.model_validate(fields.at(element, "event"))
    said = event.data
    return [Told(fields.text(element, "id"), _data(event), event.timestamp, said.recipient, (said.token,))]


def _data(event: Payload) -> Data:
    said = event.data
    match event.type:
        case "delivered":
            shared = said.model_dump(include={"smtp_code", "enhanced_code", "remote_mta", "attempt"})
            return Delivered(**shared, response=said.diagnostic, origin=ORIGIN)
        case "deferred":
            return Deferred(**_refusal(said))
        case "bounced":
            return Bounced(**_refusal(said))
        case "complained":
            return Complained(feedback_type=said.feedback_type, origin=ORIGIN)
        case "unsubscribed":
            return Complained(feedback_type="opt-out", origin=ORIGIN)
        case "opened":
            return Opened(verdict=said.verdict, rule=f"{NAME}-open", client=said.client, origin=ORIGIN)


def _refusal(said: Said) -> dict[str, Any]:
    code = str(said.smtp_code or "")
    words = said.diagnostic if said.diagnostic.startswith(code) else f"{code} {said.diagnostic}"
    found = refusal(NAME, words, status=said.enhanced_code or "")
    return found | {"remote_mta": said.remote_mta, "attempt": said.attempt}
