"""What DNS says of a domain's mail servers, and in which order they are tried (RFC 5321, section 5.1); pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import zip_longest
from typing import NamedTuple

from sender.outcome import Unroutable
from tracepost.bounces.classify import Cause

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_EXCHANGES = 20  # that are looked at
MOST_ADDRESSES = 6  # that one attempt tries
MOST_OF_ONE = 3  # of them of one exchange


class Trouble(NamedTuple):
    """DNS gave no answer that could be used: it may give one later."""

    reason: str


class Nothing(NamedTuple):
    """There is no such record; `exists`: but the name is there."""

    exists: bool


class Exchange(NamedTuple):
    """A record of type MX; a null MX (RFC 7505) has the host ""."""

    preference: int
    host: str


class Server(NamedTuple):
    """A host that takes the domain's mail, and its addresses in the order in which they are tried."""

    preference: int
    host: str
    addresses: Sequence[str]


@dataclass(frozen=True)
class Us:
    """By which names and addresses a domain's MX points at ourselves."""

    names: Collection[str]
    networks: Sequence[Network]

    def is_at(self, addresses: Iterable[str]) -> bool:
        """One of these is ours."""
        found = [ip_address(each) for each in addresses]
        return any(each in network for each in found for network in self.networks)


def exchanges(domain: str, answer: Sequence[Exchange] | Nothing | Trouble, us: Us) -> Sequence[Exchange] | Unroutable:
    """Whom the answer to a question for MX names, best first; without one the domain itself."""
    match answer:
        case Trouble(reason):
            return trouble(domain, reason)
        case Nothing(exists=False):
            return _dead(f"5.1.2 not sent: there is no domain {domain}", "bad_domain", "no-such-domain")
        case Nothing():
            return [Exchange(0, domain)]
    named = sorted(each for each in answer if each.host)
    if not named:
        return _dead(f"5.1.10 not sent: the domain {domain} takes no mail (null MX)", "null_mx", "null-mx")
    return before_us(domain, named[:MOST_EXCHANGES], {each.host for each in named if each.host in us.names})


def before_us(domain: str, named: Sequence[Exchange], ours: Collection[str]) -> Sequence[Exchange] | Unroutable:
    """Those that are preferred to ourselves: the others would send the mail back to us."""
    own = min((each.preference for each in named if each.host in ours), default=None)
    left = [each for each in named if own is None or each.preference < own]
    if left:
        return left
    reason = f"5.4.6 not sent: the best mail server of {domain} is this one, which does not take its mail"
    return Unroutable(reason, Cause("soft", "system", "mx-is-us"), lasting=True)


def servers(
    domain: str, named: Sequence[Exchange], found: Mapping[str, Sequence[str] | Nothing | Trouble], us: Us
) -> Sequence[Server] | Unroutable:
    """The exchanges with their addresses, as far as they have any."""
    addresses = {host: answer for host, answer in found.items() if not isinstance(answer, Nothing | Trouble)}
    left = before_us(domain, named, {host for host, known in addresses.items() if us.is_at(known)})
    if isinstance(left, Unroutable):
        return left
    if with_address := [Server(*each, addresses[each.host]) for each in left if each.host in addresses]:
        return with_address
    for each in left:
        match found[each.host]:
            case Trouble(reason):
                return trouble(domain, reason)
    if [each.host for each in named] == [domain]:
        return _dead(f"5.1.2 not sent: the domain {domain} has no mail server", "bad_domain", "no-mail-server")
    hosts = ", ".join(each.host for each in left)[:200]
    reason = f"5.4.4 not sent: no mail server of {domain} has an address: {hosts}"
    return _dead(reason, "bad_domain", "mx-without-address")


def trouble(domain: str, reason: str) -> Unroutable:
    """DNS could not be asked."""
    words = f"4.4.3 not sent: the mail servers of {domain} could not be looked up: {reason}"
    return Unroutable(words, Cause("soft", "dns_temporary", "dns-trouble"), lasting=False)


def mixed(*families: Sequence[str]) -> list[str]:
    """Addresses of IPv6 and IPv4 in turn: where one of them does not work, the next try is by the other."""
    return [each for group in zip_longest(*families) for each in group if each]


def orders(found: Sequence[Server], dice: random.Random) -> list[list[Server]]:
    """Orders to choose from: by preference, in random order where that is equal, each of the best first as often."""
    best = min(each.preference for each in found)
    leaders = [each for each in found if each.preference == best]
    return [[leader, *_shuffled([each for each in found if each is not leader], dice)] for leader in leaders]


def _shuffled(found: Sequence[Server], dice: random.Random) -> list[Server]:
    return sorted(found, key=lambda each: (each.preference, dice.random()))


def _dead(reason: str, category: str, rule: str) -> Unroutable:
    return Unroutable(reason, Cause("hard", category, rule), lasting=True)
