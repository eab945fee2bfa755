"""Calls of webhooks as providers make them: the payloads of tests/data/webhooks, signed with keys of the tests."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from bounce_ingest.webhooks import amazon_ses, mailgun, mandrill, postmark, sendgrid, standard
from bounce_ingest.webhooks.values import Call
from tests.bouncing import HOST, Bouncing
from tracepost.tokens import Keyring, to_local_part

DATA = Path(__file__).parent / "data" / "webhooks"
PROVIDERS = {each.NAME: each for each in (amazon_ses, sendgrid, mailgun, postmark, mandrill, standard)}

# What the payloads are about.
MESSAGE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
RECIPIENT = "ann@example.org"

# The case of a hard bounce for each provider.
BOUNCES = {
    "amazon-ses": "bounce",
    "sendgrid": "bounce",
    "mailgun": "failed",
    "postmark": "bounce",
    "mandrill": "hard_bounce",
    "standard": "bounced",
}

TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE_HOST = "sns.eu-west-1.amazonaws.com"
MAILGUN_KEYS = ("old-mailgun-signing-key", "mailgun-signing-key")
POSTMARK_SECRETS = ("postmark:a long password", "the value of a header")
MANDRILL_KEYS = ("old-mandrill-key", "mandrill-key")
MANDRILL_URL = "https://hooks.example.org/v1/webhooks/mandrill"
SECRET = b"a secret of twenty-four+ bytes"
SENDGRID_KEYS = tuple(ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
PRIVATE = Ed25519PrivateKey.generate()

_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def settings() -> dict[str, str]:
    """The settings that take all these calls."""
    public = PRIVATE.public_key().public_bytes_raw()
    return {
        "webhook_amazon_ses_topics": TOPIC,
        "webhook_sendgrid_keys": ",".join(_text(key.public_key().public_bytes(*_SPKI)) for key in SENDGRID_KEYS),
        "webhook_mailgun_keys": ",".join(MAILGUN_KEYS),
        "webhook_postmark_secrets": ",".join(POSTMARK_SECRETS),
        "webhook_mandrill_keys": ",".join(MANDRILL_KEYS),
        "webhook_mandrill_url": MANDRILL_URL,
        "webhook_standard_keys": f"whsec_{_text(SECRET)},whpk_{_text(public)}",
    }


def token(keyring: Keyring, recipient: str = RECIPIENT, message_id: str = MESSAGE_ID) -> str:
    """What our sender has written."""
    return to_local_part(keyring.return_path(UUID(message_id), 0, recipient))


@cache
def _texts(provider: str, file: str = "events") -> Mapping[str, str]:
    found = json.loads((DATA / provider / f"{file}.json").read_text())
    return {case: json.dumps(payload) for case, payload in found.items()}


def cases(provider: str) -> list[str]:
    """What there are payloads for."""
    return list(_texts(provider))


def payload(provider: str, case: str, token: str) -> Any:
    """One event, as the provider writes it."""
    plain = token.removeprefix("b+")
    return json.loads(_texts(provider)[case].replace("TOKEN", token).replace("PLAIN", plain))


def element(provider: str, case: str, token: str) -> Any:
    """The same as the provider's module takes it out of a call."""
    found = payload(provider, case, token)
    return {"id": f"msg_{case}", "event": found} if provider == standard.NAME else found


def call(provider: str, *events: Any, at: datetime | None = None, **more: Any) -> Call:
    """A genuine call that tells these events, made at that time."""
    return _CALLS[provider](at or datetime.now(UTC), *events, **more)


async def posted(service: Bouncing, provider: str, call: Call, expected: int = 200) -> Any:
    """The answer's JSON; AssertionError for another status."""
    headers = {"content-type": "application/octet-stream", **call.headers}
    async with service.session.post(_url(service, provider), data=BytesIO(call.body), headers=headers) as answer:
        assert answer.status == expected, await answer.text()
        return await answer.json(content_type=None)


async def looked(service: Bouncing, provider: str, method: str = "HEAD") -> int:
    """The status of another request."""
    async with service.session.request(method, _url(service, provider)) as answer:
        return answer.status


def _url(service: Bouncing, provider: str) -> str:
    return f"http://{HOST}:{service.settings.api_port}/v1/webhooks/{provider}"


def _of_sns(at: datetime, *events: Any, case: str = "notification", version: str = "2", **changed: Any) -> Call:
    posted = json.loads(_texts(amazon_ses.NAME, "sns")[case])
    posted |= {"SignatureVersion": version, "Timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"}
    if events:
        posted["Message"] = json.dumps(events[0])
    posted |= changed
    names: tuple[str, ...] = (
        "Message",
        "MessageId",
        "Subject",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    )
    if posted["Type"] != "Notification":
        names = tuple(name for name in names if name != "Subject")
    said = "".join(f"{name}\n{posted[name]}\n" for name in names if name in posted)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    posted["Signature"] = _text(signer()[0].sign(said.encode(), PKCS1v15(), digest))
    return Call({"content-type": "text/plain; charset=UTF-8"}, json.dumps(posted).encode(), at)


def _of_sendgrid(at: datetime, *events: Any, key: ec.EllipticCurvePrivateKey = SENDGRID_KEYS[1]) -> Call:
    body, timestamp = json.dumps(events).encode(), str(int(at.timestamp()))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        "x-twilio-email-event-webhook-signature": _text(signature),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }
    return Call(headers, body, at)


def _of_mailgun(
    at: datetime, *events: Any, key: str = MAILGUN_KEYS[1], token: str | None = None, parent: bool = False
) -> Call:
    timestamp, token = str(int(at.timestamp())), token or secrets.token_hex(25)
    signature = hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex()
    signed = {"timestamp": timestamp, "token": token, "signature": "00" * 32 if parent else signature}
    if parent:
        signed["parent-signature"] = signature
    return Call({}, json.dumps({"signature": signed, "event-data": events[0]}).encode(), at)


def _of_postmark(at: datetime, *events: Any, secret: str = POSTMARK_SECRETS[0]) -> Call:
    headers = {"authorization": f"Basic {_text(secret.encode())}"} if ":" in secret else {"tracepost-secret": secret}
    return Call(headers, json.dumps(events[0]).encode(), at)


def _of_mandrill(at: datetime, *events: Any, key: str = MANDRILL_KEYS[1], url: str = MANDRILL_URL) -> Call:
    form = {"mandrill_events": json.dumps(events), "a": "b"}
    message = url + "".join(name + form[name] for name in sorted(form))
    signature = _text(hmac.digest(key.encode(), message.encode(), "sha1"))
    return Call({"x-mandrill-signature": signature}, urlencode(form).encode(), at)


def _of_ours(at: datetime, *events: Any, id: str = "msg_1", version: str = "v1", key: bytes = SECRET) -> Call:  # noqa: A002
    body, timestamp = json.dumps(events[0]).encode(), str(int(at.timestamp()))
    said = f"{id}.{timestamp}.".encode() + body
    signature = PRIVATE.sign(said) if version == "v1a" else hmac.digest(key, said, "sha256")
    shown = f"v1,{_text(bytes(32))} {version},{_text(signature)}"  # an older secret's stands beside it
    return Call({"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": shown}, body, at)


_CALLS: Mapping[str, Callable[..., Call]] = {
    amazon_ses.NAME: _of_sns,
    sendgrid.NAME: _of_sendgrid,
    mailgun.NAME: _of_mailgun,
    postmark.NAME: _of_postmark,
    mandrill.NAME: _of_mandrill,
    standard.NAME: _of_ours,
}


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@cache
def signer(host: str = CERTIFICATE_HOST) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """A key and its certificate, signed by itself: good for SNS's messages, and for TLS."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1000))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, made


def certificate() -> bytes:
    """The certificate of `signer` as PEM."""
    return signer()[1].public_bytes(Encoding.PEM)
