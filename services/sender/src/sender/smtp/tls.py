"""TLS to mail servers: whose certificates count, and what was agreed on."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from sender.routing.hops import Hop


@dataclass(frozen=True, slots=True)
class Contexts:
    """With a certificate for the host, and with any."""

    verified: ssl.SSLContext
    unverified: ssl.SSLContext

    def of(self, hop: Hop) -> ssl.SSLContext:
        """What the hop is spoken to with, as far as it offers TLS at all."""
        return self.unverified if hop.tls == "may" else self.verified


def contexts(ca_file: str = "") -> Contexts:
    """With the system's authorities and those of a PEM file."""
    verified, unverified = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    if ca_file:
        verified.load_verify_locations(ca_file)
    return Contexts(verified, unverified)


def told(agreed: ssl.SSLObject) -> str:
    """What was agreed on, for people: TLSv1.3, TLS_AES_256_GCM_SHA384, verified."""
    cipher = agreed.cipher()
    verified = "verified" if agreed.context.verify_mode is ssl.CERT_REQUIRED else "not verified"
    return ", ".join([agreed.version() or "TLS", cipher[0] if cipher else "", verified])
