"""Verifies what Amazon SNS posts, signature versions 1 and 2; pure: the certificate is fetched by others.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.signatures import WINDOW, decoded, refuse, refusing, trust
from bounce_ingest.webhooks.values import Call, Refused, Trust

# The time that is signed is that of the publication, and SNS tries for at most an hour.
RETRIES = timedelta(hours=1)

_TOPIC = re.compile(r"arn:(?P<partition>aws|aws-cn|aws-us-gov):sns:(?P<region>[a-z0-9-]{3,32}):\d{12}:[\w.-]{1,256}")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{32}\.pem")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_DIGESTS = {"1": hashes.SHA1, "2": hashes.SHA256}
_REMEDY = "only what SNS posts for a topic is taken, without raw message delivery"


def topic(arn: str) -> str:
    """A topic's ARN; ValueError for anything else."""
    if not _TOPIC.fullmatch(arn):
        raise ValueError(f"{arn} is no topic: write it as arn:aws:sns:us-east-1:123456789012:name")
    return arn


def envelope(call: Call) -> dict[str, Any]:
    """What SNS posted; Refused for anything else."""
    found = fields.document(call.body)
    if not isinstance(found, dict) or str(found.get("Type")) not in _SIGNED:
        raise Refused("invalid", f"Type must be one of {', '.join(_SIGNED)}: {_REMEDY}")
    return found


def certificate_url(topics: Collection[str], call: Call) -> str:
    """Where the certificate is that is said to have signed it: at SNS, in the topic's own region, or Refused."""
    posted = envelope(call)
    arn = str(posted.get("TopicArn"))
    if arn not in topics or not (found := _TOPIC.fullmatch(arn)):
        raise Refused("other-topic", "the topic is not one of WEBHOOK_AMAZON_SES_TOPICS; add it there, if it is yours")
    host = f"https://sns.{found['region']}.amazonaws.com" + (".cn" if found["partition"] == "aws-cn" else "")
    url = posted.get("SigningCertURL")
    if not isinstance(url, str) or not url.startswith(host) or not _CERTIFICATE.fullmatch(url[len(host) :]):
        raise Refused("bad-signature", f"SigningCertURL is not at {host}: {_REMEDY}")
    return url


@refusing
def verify(certificate: bytes, call: Call) -> Trust:
    """Hold the call's signature against the certificate (PEM)."""
    posted = envelope(call)
    found = x509.load_pem_x509_certificate(certificate)
    key = found.public_key()
    if not isinstance(key, RSAPublicKey) or not _is_valid(found, call.at):
        raise refuse("the certificate has expired, or is of another kind")
    try:
        signature = decoded(fields.text(posted, "Signature"))
        key.verify(signature, _said(posted), PKCS1v15(), _DIGESTS[fields.text(posted, "SignatureVersion")]())
    except InvalidSignature:
        raise refuse(_REMEDY) from None
    return trust(call.at, fields.iso(posted["Timestamp"]), RETRIES + WINDOW)


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _said(posted: dict[str, Any]) -> bytes:
    """What is signed: names and values by lines, in the order of the names."""
    named = [name for name in _SIGNED[posted["Type"]] if name in posted]
    return "".join(f"{name}\n{posted[name]}\n" for name in named).encode()
