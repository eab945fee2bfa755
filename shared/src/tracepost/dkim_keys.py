"""Keys of DKIM: what a setting says of them, which of them sign for a sender, and what DNS must say; pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, NamedTuple, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tracepost.addresses import parse

LEAST_BITS = 1024  # what is shorter is not verified (RFC 8301, 3.2)

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")

Private = RSAPrivateKey | Ed25519PrivateKey


class KeyFile(NamedTuple):
    """A key as it is listed: where its public half stands, the file of its private one, and when it begins to sign."""

    domain: str
    selector: str
    path: str
    begins: datetime | None = None

    def __str__(self) -> str:
        date = f"@{self.begins.date()}" if self.begins else ""
        return f"{self.domain}:{self.selector}{date}={self.path}"


@dataclass(frozen=True, slots=True)
class Key:
    """A private key, and where its public half stands: in the TXT record of `<selector>._domainkey.<domain>`."""

    domain: str
    selector: str
    private: Private
    begins: datetime | None = None

    @property
    def algorithm(self) -> Literal["rsa", "ed25519"]:
        """As the record calls it."""
        return "rsa" if isinstance(self.private, RSAPrivateKey) else "ed25519"

    @property
    def record(self) -> str:
        """What the TXT record must say (RFC 6376, 3.6.1; RFC 8463, 4)."""
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            written = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            written = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.algorithm}; p={b64encode(written).decode()}"

    def sign(self, data: bytes) -> bytes:
        """The signature; with Ed25519 that of the digest (RFC 8463, 3)."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(data, PKCS1v15(), SHA256())
        return self.private.sign(sha256(data).digest())


def read(entries: Iterable[str]) -> tuple[KeyFile, ...]:
    """From `example.org:selector=/path/key.pem` or `example.org:selector@2026-07-01=/path/key.pem`; ValueError names
    an entry that is neither.
    """
    return tuple(map(_entry, entries))


def private(pem: bytes) -> Private:
    """The key in a PEM file; ValueError says why it cannot sign."""
    try:
        found = load_pem_private_key(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):  # whose words are about the library
        remedy = "make one with `openssl genpkey -algorithm ed25519`"
        raise ValueError(f"is no private key in PEM without a password; {remedy}") from None
    if not isinstance(found, RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError("is neither an RSA nor an Ed25519 key, which are all that DKIM knows")
    if isinstance(found, RSAPrivateKey) and found.key_size < LEAST_BITS:
        raise ValueError(f"has {found.key_size} bits, which nobody verifies; make one of 2048")
    return found


def of_sender(keys: Mapping[str, Sequence[Key]], domain: str, now: datetime) -> tuple[Key, ...]:
    """Of the keys by domain those that sign for a sender's domain: of each algorithm the one that began last.

    Those of the nearest domain above will do: they are aligned (RFC 7489, 3.1.1).
    """
    while domain and domain not in keys:
        domain = domain.partition(".")[2]
    first = datetime.min.replace(tzinfo=UTC)
    begun = [key for key in keys.get(domain, ()) if (key.begins or first) <= now]
    latest = {key.algorithm: key for key in sorted(begun, key=lambda key: key.begins or first)}
    return tuple(latest.values())


def _entry(entry: str) -> KeyFile:
    name, is_equal, path = entry.partition("=")
    domain, _, selector = name.partition(":")
    selector, is_dated, date = selector.strip().lower().partition("@")
    if not (is_equal and path.strip() and _SELECTOR.fullmatch(selector)):
        _refuse(entry)
    try:
        begins = datetime.fromisoformat(date).replace(tzinfo=UTC) if is_dated else None
        return KeyFile(parse(f"a@{domain.strip()}").domain, selector, path.strip(), begins)
    except ValueError:
        _refuse(entry)


def _refuse(entry: str) -> NoReturn:
    forms = "example.org:selector=/path/key.pem, or example.org:selector@2026-07-01=/path/key.pem for a later day"
    raise ValueError(f"{entry!r} is no DKIM key; write it as {forms}")
