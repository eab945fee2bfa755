"""Where a request comes from, and how much of that may leave the pixel; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Networks = Iterable[IPv4Network | IPv6Network]


class Place(NamedTuple):
    """What is known of an address: its network (/24 or /48), whether it is ours, whether it is of Apple's relay."""

    network: str | None
    own: bool
    relayed: bool


class Ranges:
    """Very many networks, of both versions; a look-up takes a microsecond however many they are."""

    def __init__(self, networks: Networks = ()) -> None:
        ends: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in networks:
            first = int(network.network_address)
            ends[network.version].append((first, first + network.num_addresses - 1))
        self._merged = {version: _merged(sorted(pairs)) for version, pairs in ends.items()}

    def __contains__(self, address: Address) -> bool:
        starts, lasts = self._merged[address.version]
        at = bisect_right(starts, int(address)) - 1
        return at >= 0 and int(address) <= lasts[at]


def _merged(pairs: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    lasts: list[int] = []
    for first, last in pairs:
        if lasts and first <= lasts[-1] + 1:
            lasts[-1] = max(lasts[-1], last)
        else:
            starts.append(first)
            lasts.append(last)
    return starts, lasts


def read_ranges(lines: Iterable[str]) -> Ranges:
    """Networks from a file with one a line, before the first comma, as Apple's; ValueError names the line."""
    return Ranges(_networks(lines))


def _networks(lines: Iterable[str]) -> Iterable[IPv4Network | IPv6Network]:
    for number, line in enumerate(lines, 1):
        text = line.partition(",")[0].partition("#")[0].strip()
        if text:
            try:
                yield ip_network(text)
            except ValueError as error:
                raise ValueError(
                    f"line {number}: {error}; write a network, e.g. 192.0.2.0/24, before a comma"
                ) from None


@dataclass(frozen=True, slots=True)
class Atlas:
    """What we are told of addresses by the settings."""

    proxies: tuple[IPv4Network | IPv6Network, ...]
    own: Ranges
    relay: Ranges

    def place(self, peer: str, headers: Mapping[str, str]) -> Place:
        """Where the client is, by the peer's address and the header that the proxies we trust have written."""
        if self.proxies and "x-forwarded-for" in headers:
            peer = client(peer, headers["x-forwarded-for"], self.proxies)
        return _place(self.own, self.relay, peer)


@lru_cache(maxsize=8192)
def _place(own: Ranges, relay: Ranges, ip: str) -> Place:
    try:
        address = plain(ip)
    except ValueError:
        return Place(None, own=False, relayed=False)
    return Place(truncated(address), address in own, address in relay)


def client(peer: str, forwarded: str, proxies: Networks) -> str:
    """The peer's address, or what the nearest proxies that we trust say it is."""
    hops = [*forwarded.replace(" ", "").split(","), peer]
    while len(hops) > 1 and hops[-2] and _within(hops[-1], proxies):
        hops.pop()
    return hops[-1]


def _within(ip: str, networks: Networks) -> bool:
    try:
        return any(plain(ip) in network for network in networks)
    except ValueError:
        return False


def plain(ip: str) -> Address:
    """The address, an IPv4 one on an IPv6 socket as what it is; ValueError for anything else."""
    address = ip_address(ip)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def truncated(address: Address) -> str:
    """The network of an address, /24 or /48: more never leaves the pixel."""
    if isinstance(address, IPv4Address):
        return str(IPv4Network((int(address), 24), strict=False))
    return str(IPv6Network((int(address), 48), strict=False))
