"""The header by which a provider of mail repeats our token in its webhooks; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

Provider = Literal["amazon-ses", "sendgrid", "mailgun", "postmark", "mandrill"]

NAME = "tracepost_token"  # which all of them admit

HEADERS: Mapping[Provider, str] = {
    "amazon-ses": "X-SES-MESSAGE-TAGS",
    "sendgrid": "X-SMTPAPI",
    "mailgun": "X-Mailgun-Variables",
    "postmark": f"X-PM-Metadata-{NAME}",
    "mandrill": "X-MC-Metadata",
}


def value(provider: Provider, token: str) -> str:
    """What the header says of a return path's token, as the provider documents it."""
    match provider:
        case "amazon-ses":  # https://docs.aws.amazon.com/ses/latest/APIReference/API_MessageTag.html: no plus sign
            return f"{NAME}={token.removeprefix('b+')}"
        case "sendgrid":
            return json.dumps({"unique_args": {NAME: token}})
        case "mailgun" | "mandrill":
            return json.dumps({NAME: token})
        case "postmark":
            return token
