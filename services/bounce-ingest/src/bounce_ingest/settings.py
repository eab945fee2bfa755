"""What bounce-ingest is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from bounce_ingest.parsers.values import Limits
from bounce_ingest.quarantine.values import Bounds
from bounce_ingest.smtp.caps import Most
from bounce_ingest.webhooks.settings import WebhookSettings
from tracepost.settings import ApiSettings, DatabaseSettings, Port, Seconds, parts

MIB = 1024 * 1024
ROOM = 32  # bytes of memory that the reading of one byte may take: three times what the worst mails have taken

Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=65_536)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(parts)]
Folders = Annotated[tuple[Path, ...], BeforeValidator(parts)]
Files = Annotated[tuple[int, ...], BeforeValidator(parts)]


class BounceIngestSettings(WebhookSettings, ApiSettings, DatabaseSettings):
    """Each is `TRACEPOST_BOUNCE_INGEST_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "bounce-ingest"

    admin_port: Port = 9103
    api_port: Port = 8103
    bounce_domain: str = Field(description="the domain of return paths, whose mail comes here")
    confirm_within: Seconds = Field(30.0, description="how long a mail's answer waits until what it says is safe")
    workers: int = Field(1, ge=1, le=64, description="processes that share the ports")

    smtp_host: str | None = Field(None, description="the address that SMTP listens on; without it HOST")
    smtp_port: Port = 8125
    lmtp_port: Port | None = Field(None, description="for a mail server of our own; without it there is no LMTP")
    hostname: str = Field("localhost", description="our name in the greeting")
    tls_certificate: Path | None = Field(None, description="a PEM file with our chain, for STARTTLS")
    tls_key: Path | None = Field(None, description="a PEM file with its key")
    most_bytes: Bytes = Field(64 * MIB, description="of a mail; larger ones are refused")
    kept_bytes: Bytes = Field(10 * MIB, description="from the beginning of a mail; the rest is passed over")
    bytes_in_hand: Bytes = Field(256 * MIB, description="of all mails that are being taken")
    most_connections: Count = Field(1_000, description="at once")
    connections_of_address: Count = Field(50, description="at once from one address")
    mails_a_minute: Count = Field(1_000, description="from one address")
    trusted_networks: Networks = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="of our own mail servers, which the two limits of an address do not hold for",
    )
    session_timeout: Seconds = Field(300.0, description="how long a client may be silent")
    session_seconds: Seconds = Field(3_600.0, description="how long a session may last")

    maildirs: Folders = Field((), description="folders into which a mail server delivers: /var/mail/bounces, …")

    quarantine_reports: Count = Field(100_000, description="the most that are kept; then the oldest go")
    quarantine_bytes: Annotated[int, Field(ge=MIB)] = Field(1024 * MIB, description="the same")
    quarantine_days: Annotated[int, Field(ge=1, le=3_650)] = Field(90, description="how long a report is kept")

    parsers: Annotated[int, Field(ge=1, le=64)] = 2
    parse_seconds: Seconds = Field(10.0, description="until a mail's parsing is given up; a whole batch has no more")
    parse_memory: Annotated[int, Field(ge=128 * MIB)] = 512 * MIB
    parse_bytes: Bytes = 1 * MIB

    worker: int = Field(0, description="set by the parent of a worker: its number")
    listen_fds: Files = Field((), description="set by the parent: inherited sockets in place of the ports, in order")
    parent_fd: int | None = Field(None, description="set by the parent")

    def limits(self) -> Limits:
        """Those of one parser."""
        return Limits(self.parse_seconds, self.parse_memory, self.parse_bytes)

    def most(self) -> Most:
        """Of one process, its share."""
        return Most(self.most_connections, self.connections_of_address, self.mails_a_minute, self.bytes_in_hand)

    def bounds(self) -> Bounds:
        """Of the quarantine."""
        return Bounds(self.quarantine_reports, self.quarantine_bytes, self.quarantine_days)

    def ports(self) -> list[tuple[str, int]]:
        """What a process listens on: the API's, SMTP's, LMTP's if there is one."""
        smtp, lmtp = (self.smtp_host or self.host, self.smtp_port), self.lmtp_port
        return [(self.host, self.api_port), smtp, *([(self.host, lmtp)] if lmtp is not None else [])]

    def of_worker(self, number: int, listening: Sequence[int], line: int) -> dict[str, str]:
        """The environment of a worker: ours, its sockets and its line to us by their numbers, its share of limits."""
        shared = ("MOST_CONNECTIONS", "CONNECTIONS_OF_ADDRESS", "MAILS_A_MINUTE", "BYTES_IN_HAND", "PARSERS")
        told: dict[str, object] = {each: self._share(each) for each in shared}
        told |= {"WORKERS": 1, "WORKER": number, "LISTEN_FDS": ",".join(map(str, listening)), "PARENT_FD": line}
        return {**os.environ, **{f"TRACEPOST_BOUNCE_INGEST_{name}": str(value) for name, value in told.items()}}

    def _share(self, name: str) -> int:
        least = 65_536 if name.startswith("BYTES") else 1
        return max(least, int(getattr(self, name.lower())) // self.workers)

    def model_post_init(self, context: Any) -> None:
        """Refuse at the start what cannot be used."""
        super().model_post_init(context)
        needed = 64 * MIB + ROOM * self.parse_bytes
        if self.parse_memory < needed:
            raise ValueError(f"PARSE_MEMORY is {self.parse_memory}: for PARSE_BYTES set it to {needed} or more")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("TLS_CERTIFICATE and TLS_KEY go together: set both, or neither")
        if self.workers > 1 and not all(port for _, port in self.ports()):
            raise ValueError("a port is 0, any free one: give numbers, so that all WORKERS can share them")
