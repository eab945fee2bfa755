"""A server that takes mail, and how it is spoken to; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Tls = Literal["may", "must", "implicit"]
"""TLS where it is offered, whoever offers it; TLS with a certificate for the host, by STARTTLS, or from the start."""

SCHEMES: dict[str, tuple[Tls, int]] = {"smtp": ("may", 25), "smtp+starttls": ("must", 587), "smtps": ("implicit", 465)}


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a relay."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hop:
    """The next hop of a message; two that are equal share their connections.

    `address` is the one of the host's that is meant; without it the host is looked up for each new connection.
    """

    host: str
    port: int
    tls: Tls = "may"
    address: str | None = None
    login: Login | None = None

    @property
    def name(self) -> str:
        """The server as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        scheme = next(scheme for scheme, (tls, _) in SCHEMES.items() if tls == self.tls)
        return f"{scheme}://{self.name}"
