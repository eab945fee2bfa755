"""Which relays mail for a destination goes by, if by any; pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sender.routing.hops import Hop, Login
from sender.routing.relays import Entry, Given, with_login


@dataclass(frozen=True, slots=True, eq=False)
class Relays:
    """Servers of which each takes mail for every destination, in the order in which they are tried.

    `shared`: the first is any of them, so that all have the same share.
    """

    hops: tuple[Hop, ...]
    shared: bool = False

    def order(self) -> Sequence[Hop]:
        """Which to try first, second …"""
        if not self.shared or len(self.hops) == 1:
            return self.hops
        first = random.randrange(len(self.hops))  # noqa: S311 - no secret
        return self.hops[first:] + self.hops[:first]


@dataclass(frozen=True)
class Routes:
    """By destination, that is the recipient's domain; None: by the servers that the domain itself names."""

    default: Relays | None
    exceptions: Mapping[str, Relays | None]

    def to(self, destination: str) -> Relays | None:
        """Who takes copies for this destination."""
        return self.exceptions.get(destination, self.default)


def table(relays: Sequence[Given], entries: Iterable[Entry], logins: Mapping[str, Login], *, shared: bool) -> Routes:
    """The routes as they were set; ValueError says what contradicts itself."""
    elsewhere: dict[str, list[Given]] = {}
    for each in entries:
        elsewhere.setdefault(each.destination, []).append(each.to)
    named = [each for group in (relays, *elsewhere.values()) for each in group]
    if unknown := logins.keys() - {each.host for each in named if isinstance(each, Hop)}:
        raise ValueError(f"RELAY_LOGINS: {min(unknown)} is no relay; name it in RELAYS or ROUTES, or leave it out")
    exceptions = {name: _relays("ROUTES", given, logins, shared) for name, given in elsewhere.items()}
    return Routes(_relays("RELAYS", relays, logins, shared), exceptions)


def _relays(setting: str, given: Sequence[Given], logins: Mapping[str, Login], shared: bool) -> Relays | None:
    hops = [each for each in given if isinstance(each, Hop)]
    if len(hops) < len(given):
        if len(given) > 1:
            raise ValueError(
                f"{setting}: mail goes either to relays or to the servers in DNS; write relays, or mx alone"
            )
        return None
    try:
        return Relays(tuple(with_login(each, logins) for each in hops), shared)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
