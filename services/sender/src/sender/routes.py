"""Where mail for a destination goes: a mail server of its own, else the relay; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """The next hop of a message."""

    host: str
    port: int

    @property
    def name(self) -> str:
        """The route as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Routes:
    """By destination, that is the recipient's domain."""

    relay: Route
    exceptions: Mapping[str, Route]

    def to(self, destination: str) -> Route:
        """Where a copy for this destination is handed over."""
        return self.exceptions.get(destination, self.relay)


def read(entries: Iterable[str]) -> dict[str, Route]:
    """From `example.org=mail.example.org:25`; ValueError names an entry that is none."""
    found = {}
    for entry in entries:
        destination, is_equal, route = entry.partition("=")
        host, _, port = route.rpartition(":")
        if not (destination and is_equal and host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise ValueError(f"{entry!r} is no route; write it as example.org=mail.example.org:25")
        found[destination.strip().lower()] = Route(host.strip("[] "), int(port))
    return found
