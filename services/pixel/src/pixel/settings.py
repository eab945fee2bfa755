"""What the pixel is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PrivateAttr

from pixel.places import Ranges, read_ranges
from tracepost.settings import Port, Seconds, Settings, parts

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(parts)]
Names = Annotated[tuple[str, ...], BeforeValidator(parts)]


class PixelSettings(Settings):
    """Each is `TRACEPOST_PIXEL_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "pixel"

    admin_port: Port = 9102
    port: Port = 8102
    workers: int = Field(1, ge=1, le=64, description="processes that share the port")
    trusted_proxies: Networks = Field((), description="networks whose X-Forwarded-For is believed")
    answer_within: Seconds = Field(0.2, description="how long an answer waits for the broker's confirm")
    spool: Path = Field(
        Path("/var/spool/tracepost"), description="folder on a local disk for opens the broker cannot take"
    )
    spool_bytes: int = Field(1 << 30, ge=1 << 20, description="the most that the spool may hold; then the oldest go")
    opens_a_minute: int = Field(10, ge=1, description="of a delivery and verdict that are told; the rest is counted")
    own_networks: Networks = Field((), description="networks of our own people, whose views do not count")
    own_agents: Names = Field((), description="parts of user agents of our own programs, the same")
    relay_ranges: Path | None = Field(
        None, description="Apple's list of relay addresses: a network before a comma a line"
    )
    most_connections: int = Field(20_000, ge=1, description="clients connected to one process at once")
    patience: Seconds = Field(30.0, description="how long a connection may take until it has sent a request")
    listen_fd: int | None = Field(None, description="an inherited listening socket in place of HOST and PORT")
    parent_fd: int | None = Field(None, description="set by the parent of a worker")

    _relay: Ranges = PrivateAttr()

    @property
    def relay(self) -> Ranges:
        """Apple's relay, as the file has it."""
        return self._relay

    def of_worker(self, _: int, listening: Sequence[int], line: int) -> dict[str, str]:
        """The environment of a worker: ours, its socket and its line to us by their numbers, its share of a limit."""
        share = max(1, self.opens_a_minute // self.workers)
        told = {"WORKERS": 1, "LISTEN_FD": listening[0], "PARENT_FD": line, "OPENS_A_MINUTE": share}
        return {**os.environ, **{f"TRACEPOST_PIXEL_{name}": str(value) for name, value in told.items()}}

    def model_post_init(self, context: Any) -> None:
        """Refuse at the start what cannot be used."""
        super().model_post_init(context)
        if self.workers > 1 and not self.port:
            raise ValueError("PORT is 0, any free one: give a number, so that all WORKERS can share it")
        self._relay = _read(self.relay_ranges) if self.relay_ranges else Ranges()


def _read(file: Path) -> Ranges:
    try:
        with file.open(encoding="utf-8") as lines:
            return read_ranges(lines)
    except (OSError, ValueError) as error:
        raise ValueError(f"RELAY_RANGES: {file}: {error}") from None
