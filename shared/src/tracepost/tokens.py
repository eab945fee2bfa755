"""Signed tokens: of a delivery in a pixel's URL or a return path, of browsers; and the keyed hash of an address."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import struct
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Literal, NamedTuple, get_args
from uuid import UUID

from tracepost.addresses import normal

Purpose = Literal["pixel", "return-path"]
Seal = Literal["view", "session", "login"]

LIFETIME = timedelta(days=365)  # shorter than any retention, so that a valid token always finds its message
TRACK_FULL, TRACK_DAY = 0, 1

_EPOCH = date(2020, 1, 1)
_BODY = struct.Struct(">B16sBBH")
_MAC_BYTES = 10
_MARK_BYTES = 3
# From base64url to base64: neither knows the other's two letters, and we write no padding.
_STANDARD = bytes.maketrans(b"-_+/=", b"+/   ")
_LOCAL_PART = re.compile("[bB][+][a-zA-Z2-7]{2,128}")
_DIGITS = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")  # RFC 4648 to Python
_SEALED = struct.Struct(">BQ")  # kid, and the second when it ends
_SEAL_BYTES = 16


class Claim(NamedTuple):
    """What a valid token says: a delivery, `flags` (the tracking mode), the day of issue, a mark of the address."""

    message_id: UUID
    recipient_no: int
    flags: int
    day: date
    kid: int
    mark: bytes


class Keyring:
    """Signs with the highest key id and verifies with every key, so that root keys can be rotated.

    `roots` maps a key id (0 to 255) to at least 32 secret bytes.
    """

    def __init__(self, roots: Mapping[int, bytes]) -> None:
        if not roots or any(not 0 <= kid <= 255 or len(root) < 32 for kid, root in roots.items()):
            raise ValueError("needs at least one root key, each with an id of 0 to 255 and 32 bytes or more")
        self._kid = max(roots)
        self._keys = {
            (kid, purpose): _derive(root, purpose)
            for kid, root in roots.items()
            for purpose in (*get_args(Purpose), *get_args(Seal))
        }
        # Suppressions are found by this hash for years: it hangs on the oldest key, which rotation keeps.
        self._address_key = _derive(roots[min(roots)], "address")

    def pixel(self, message_id: UUID, recipient_no: int, flags: int = TRACK_FULL, day: date | None = None) -> bytes:
        """31 bytes: kid, message id, recipient number, flags, day, truncated HMAC-SHA256."""
        return self._sign("pixel", message_id, recipient_no, flags, day, b"")

    def return_path(self, message_id: UUID, recipient_no: int, address: str, day: date | None = None) -> bytes:
        """34 bytes: the same with a mark of the address, so that a report can be held against it without a database."""
        mark = self._mark(self._kid, address)
        return self._sign("return-path", message_id, recipient_no, 0, day, mark)

    def verify(self, purpose: Purpose, token: bytes, today: date | None = None) -> Claim | None:
        """The claim of a genuine token that has not expired, else None."""
        end = _BODY.size + (_MARK_BYTES if purpose == "return-path" else 0)
        body, mac = token[:end], token[end:]
        if len(body) != end or (body[0], purpose) not in self._keys:
            return None
        if not hmac.compare_digest(mac, self._mac(purpose, body[0], body)):
            return None
        kid, message_id, recipient_no, flags, days = _BODY.unpack(body[: _BODY.size])
        day = _EPOCH + timedelta(days)
        if (today or datetime.now(UTC).date()) - day > LIFETIME:
            return None
        return Claim(UUID(bytes=message_id), recipient_no, flags, day, kid, body[_BODY.size :])

    def names(self, claim: Claim, address: str) -> bool:
        """Whether a return path's claim was made for this address (one address in 16 million others passes too)."""
        return hmac.compare_digest(claim.mark, self._mark(claim.kid, address))

    def seal(self, purpose: Seal, said: bytes, ends: datetime) -> str:
        """`said` as a text for a URL or a cookie, good until then: who has it can read it, but not change it."""
        body = _SEALED.pack(self._kid, int(ends.timestamp())) + said
        return to_url(body + self._seal(purpose, self._kid, body))

    def unseal(self, purpose: Seal, text: str, now: datetime | None = None) -> tuple[bytes, datetime] | None:
        """What was sealed, and when it ends; None for what is not genuine, or has ended."""
        sealed = from_url(text)
        body, mac = sealed[:-_SEAL_BYTES], sealed[-_SEAL_BYTES:]
        if len(body) < _SEALED.size or (body[0], purpose) not in self._keys:
            return None
        if not hmac.compare_digest(mac, self._seal(purpose, body[0], body)):
            return None
        ends = datetime.fromtimestamp(_SEALED.unpack(body[: _SEALED.size])[1], UTC)
        return (body[_SEALED.size :], ends) if (now or datetime.now(UTC)) < ends else None

    def _seal(self, purpose: Seal, kid: int, body: bytes) -> bytes:
        return hmac.digest(self._keys[kid, purpose], body, sha256)[:_SEAL_BYTES]

    def _sign(
        self, purpose: Purpose, message_id: UUID, recipient_no: int, flags: int, day: date | None, mark: bytes
    ) -> bytes:
        days = ((day or datetime.now(UTC).date()) - _EPOCH).days
        body = _BODY.pack(self._kid, message_id.bytes, recipient_no, flags, days) + mark
        return body + self._mac(purpose, self._kid, body)

    def _mark(self, kid: int, address: str) -> bytes:
        return self._mac("return-path", kid, b"address:" + normal(address).encode())[:_MARK_BYTES]

    def address_key(self, address: str) -> str:
        """The keyed hash of an address, by which suppressions and quarantine are found."""
        return hmac.digest(self._address_key, normal(address).encode(), sha256).hex()

    def _mac(self, purpose: Purpose, kid: int, body: bytes) -> bytes:
        return hmac.digest(self._keys[kid, purpose], body, sha256)[:_MAC_BYTES]


def _derive(root: bytes, purpose: str) -> bytes:
    return hmac.digest(root, b"tracepost:v1:" + purpose.encode(), sha256)


def to_url(token: bytes) -> str:
    """Base64url: 42 characters for a pixel's path."""
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def from_url(text: str) -> bytes:
    """The bytes of a token in a URL; empty for anything that is not exactly one."""
    try:
        standard = text.encode("ascii").translate(_STANDARD) + b"=" * (-len(text) % 4)
        token = binascii.a2b_base64(standard)
    except (ValueError, binascii.Error):
        return b""
    # What is no base64 was passed over.
    return token if binascii.b2a_base64(token, newline=False) == standard else b""


def to_local_part(token: bytes) -> str:
    """`b+` and 55 characters of lower-case base32: local parts do not always keep their case."""
    return "b+" + base64.b32encode(token).rstrip(b"=").decode().lower()


def from_local_part(text: str) -> bytes:
    """The bytes of a token in a return path's local part; empty for anything that is not exactly one.

    The standard library's base32 takes twenty times as long.
    """
    if not _LOCAL_PART.fullmatch(text):
        return b""
    size, spare = divmod(5 * (len(text) - 2), 8)
    number = int(text[2:].lower().translate(_DIGITS), 32)
    # Letters that a byte too few or other bits behind the last byte would explain.
    if spare >= 5 or number & ((1 << spare) - 1):
        return b""
    return (number >> spare).to_bytes(size)
