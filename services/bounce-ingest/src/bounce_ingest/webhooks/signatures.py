"""What the verification of webhooks has in common: constant time, several live keys, a window of time."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import wraps
from typing import ParamSpec

from bounce_ingest.webhooks.values import Refused, Trust

WINDOW = timedelta(minutes=5)

Given = ParamSpec("Given")


def refusing(verify: Callable[Given, Trust]) -> Callable[Given, Trust]:
    """Refuse a signature that cannot even be read."""

    @wraps(verify)
    def verified(*args: Given.args, **kwargs: Given.kwargs) -> Trust:
        try:
            return verify(*args, **kwargs)
        except (ValueError, TypeError, LookupError):
            raise Refused("bad-signature", "the signature cannot be read") from None

    return verified


def refuse(remedy: str) -> Refused:
    """What is raised for a call that nobody with the key has signed."""
    return Refused("bad-signature", f"the signature is not genuine: {remedy}")


def is_signed(keys: Iterable[bytes], digest: str, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the message's HMAC by one of the keys; takes as long for any other."""
    return any(hmac.compare_digest(hmac.digest(key, message, digest), signature) for key in keys)


def is_one_of(secrets: Iterable[str], shown: str) -> bool:
    """Whether what the caller shows is one of the secrets."""
    return any(hmac.compare_digest(each.encode(), shown.encode(errors="replace")) for each in secrets)


def decoded(text: str) -> bytes:
    """Base64, strictly; ValueError for anything else."""
    return base64.b64decode(text, validate=True)


def trust(now: datetime, signed: datetime, past: timedelta = WINDOW) -> Trust:
    """How far what was signed then is to be believed now; clocks may differ by WINDOW."""
    return "genuine" if -WINDOW <= now - signed <= past else "stale"
