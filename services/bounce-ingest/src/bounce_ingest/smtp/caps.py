"""How many connections there may be, how many mails a minute, and how much may be in hand; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from tracepost.limit import Limit

Network = IPv4Network | IPv6Network

_NEIGHBOURS = 64  # bits of an IPv6 address that one site shares


class Most(NamedTuple):
    """Of one process: connections, of one address, mails a minute of one address, bytes in hand."""

    connections: int
    of_address: int
    a_minute: int
    in_hand: int


class Caps:
    """Counts what there is; addresses of `trusted` networks, our own mail servers, are not bounded by themselves."""

    def __init__(self, most: Most, trusted: Sequence[Network] = ()) -> None:
        self._most, self._trusted = most, trusted
        self._connections: Counter[str] = Counter()
        self._mails = Limit(most.a_minute)
        self._all = 0
        self._in_hand = 0

    def enter(self, peer: str) -> str | None:
        """A connection: counted until it leaves, and why it is refused, if it is."""
        site = self._site(peer)
        self._all += 1
        self._connections[site] += 1
        if self._all > self._most.connections:
            return "421 4.3.2 too many connections, try again later"
        if site and self._connections[site] > self._most.of_address:
            return "421 4.7.0 too many connections from your address"
        return None

    def leave(self, peer: str) -> None:
        """The connection has ended."""
        site = self._site(peer)
        self._all -= 1
        self._connections[site] -= 1
        if not self._connections[site]:
            del self._connections[site]

    def mail(self, peer: str, now: float) -> str | None:
        """Why one more mail is refused at this time, in seconds, if it is."""
        site = self._site(peer)
        if site and not self._mails.admits(site, now):
            return "451 4.7.1 too many mails from your address, try again in a minute"
        return None

    def has_room(self) -> bool:
        """Whether one more mail may be taken in hand."""
        return self._in_hand < self._most.in_hand

    @contextmanager
    def taking(self) -> Iterator[Callable[[int], None]]:
        """A mail, from its first byte to its answer; yields what is to be told of each number of bytes more."""
        size = 0

        def grown(by: int) -> None:
            nonlocal size
            size += by
            self._in_hand += by

        try:
            yield grown
        finally:
            self._in_hand -= size

    def _site(self, peer: str) -> str:
        """Whose connection it is; empty for one of ours."""
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:  # a Unix socket has no address
            return ""
        if not isinstance(address, IPv4Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._trusted):
            return ""
        if isinstance(address, IPv4Address):
            return str(address)
        return str(ip_network((int(address), _NEIGHBOURS), strict=False).network_address)
