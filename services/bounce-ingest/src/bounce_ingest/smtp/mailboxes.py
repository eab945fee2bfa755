"""Which addresses are ours: signed return paths, and the fixed mailboxes of feedback loops and postmasters; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracepost import tokens
from tracepost.tokens import Claim, Keyring

# RFC 2142 and RFC 5321, 4.5.1; feedback loops are signed up for with one of them.
FIXED = frozenset({"fbl", "abuse", "postmaster"})

UNKNOWN = "550 5.1.1 there is no such return path, or it has expired"
OTHER_DOMAIN = "550 5.7.1 relay access denied"


class Refused(Exception):
    """Its text is the reply."""


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Those of a domain."""

    domain: str
    keyring: Keyring

    def claim(self, address: str) -> Claim | None:
        """What a return path says, nothing in a fixed mailbox; Refused for any other address."""
        local, _, domain = address.rpartition("@") if "@" in address else (address, "", self.domain)
        if domain.lower() != self.domain.lower():
            raise Refused(OTHER_DOMAIN)
        if local.lower() in FIXED:
            return None
        if claim := self.keyring.verify("return-path", tokens.from_local_part(local)):
            return claim
        raise Refused(UNKNOWN)

    def first(self, addresses: Iterable[str]) -> Claim | None:
        """What the first return path among them says; for mail that was taken, whatever its addresses are."""
        return next(filter(None, map(self._said, addresses)), None)

    def _said(self, address: str) -> Claim | None:
        try:
            return self.claim(address)
        except Refused:
            return None
