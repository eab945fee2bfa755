"""Private keys of DKIM: read from PEM, they sign and tell what DNS must say; by cryptography; pure."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

LEAST_BITS = 1024  # what is shorter is not verified (RFC 8301, 3.2)

Private = RSAPrivateKey | Ed25519PrivateKey


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
