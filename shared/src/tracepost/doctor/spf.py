"""Reads SPF records with all that they lead to, and judges whether they let us send (RFC 7208); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from tracepost.doctor.domains import Address, Records
from tracepost.doctor.findings import Finding, Level
from tracepost.doctor.publishing import record
from tracepost.doctor.spf_terms import Network, Term, network, parse

MOST_LOOKUPS, MOST_VOIDS = 10, 2  # RFC 7208, 4.6.4
_DEEPEST = 10
_MOST_EXCHANGES = 10

Verdict = Literal["pass", "fail", "softfail", "neutral"]

_VERDICTS: dict[str, Verdict] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_EVERYBODY: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_LOOKS_UP = {"include", "a", "mx", "ptr", "exists", "redirect"}


class Broken(Exception):
    """A receiver can make nothing of the record; says what it would see, and the remedy."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


@dataclass(frozen=True, slots=True)
class Looked:
    """A term with what it leads to."""

    term: Term
    networks: tuple[Network, ...] = ()
    policy: Policy | None = None
    void: bool = False  # its look-up had an empty answer


@dataclass(frozen=True, slots=True)
class Policy:
    """The record of a domain."""

    domain: str
    text: str
    terms: tuple[Looked, ...]


async def read(domain: str, records: Records, above: tuple[str, ...] = ()) -> Policy:
    """The domain's record with all that it leads to; raises Broken."""
    if domain in above:
        raise Broken(f"{above[-1]} includes {domain}, which leads back to it", f"take {domain} out of the record")
    if len(above) > _DEEPEST:
        raise Broken(f"more than {_DEEPEST} records include each other", f"take {above[1]} out of the record")
    found = [text for text in await records.texts(domain) if re.match(r"v=spf1(?: |\Z)", text, re.IGNORECASE)]
    if not found:
        raise Broken(f"{domain} publishes no SPF record", _without(domain, above))
    if len(found) > 1:
        shown = " and ".join(f'"{text}"' for text in found)
        raise Broken(f"{domain} publishes {len(found)} SPF records: {shown}", "make one of them, and remove the others")
    try:
        terms = parse(found[0])
    except ValueError as error:
        remedy = f'mend the record of {domain}: "{found[0]}"'
        raise Broken(f"the record of {domain} is not valid: {error}", remedy) from None
    if any(term.name == "all" for term in terms):  # then nobody looks where it would go on
        terms = tuple(term for term in terms if term.name != "redirect")
    return Policy(domain, found[0], tuple([await _look(domain, term, records, (*above, domain)) for term in terms]))


def _without(domain: str, above: Sequence[str]) -> str:
    if above:
        return f"take {domain} out of the record of {above[-1]}, or ask who owns it to publish one"
    return ""


async def _look(domain: str, term: Term, records: Records, above: tuple[str, ...]) -> Looked:
    if "%" in term.value:
        return Looked(term)
    at = (term.value or domain).rstrip(".").lower()
    match term.name:
        case "ip4" | "ip6":
            return Looked(term, (network(term.name, term.value),))
        case "include" | "redirect":
            return Looked(term, policy=await read(at, records, above))
        case "a":
            addresses = await records.addresses(at)
        case "mx":
            exchanges = (await records.exchanges(at))[:_MOST_EXCHANGES]
            addresses = [each for exchange in exchanges for each in await records.addresses(exchange.host)]
        case "exists":
            found = await records.addresses(at)
            return Looked(term, _EVERYBODY if found else (), void=not found)
        case _:
            return Looked(term)
    return Looked(term, tuple(_around(each, term) for each in addresses), void=not addresses)


def _around(address: Address, term: Term) -> Network:
    return ip_network((address, term.lengths[address.version == 6]), strict=False)


def verdict(policy: Policy, address: Address) -> Verdict:
    """What a receiver concludes of a client with this address (RFC 7208, 4.6.2)."""
    for each in policy.terms:
        if each.term.name in {"redirect", "exp"} or not each.term.qualifier:
            continue
        if _matches(each, address):
            return _VERDICTS[each.term.qualifier]
    goes_on = _redirect(policy)
    return verdict(goes_on, address) if goes_on else "neutral"


def _matches(each: Looked, address: Address) -> bool:
    if each.term.name == "all":
        return True
    if each.term.name == "include":
        return each.policy is not None and verdict(each.policy, address) == "pass"
    return any(address in network for network in each.networks)


def _redirect(policy: Policy) -> Policy | None:
    """Where it goes on when nothing matches."""
    return next((each.policy for each in policy.terms if each.term.name == "redirect"), None)


def lookups(policy: Policy) -> int:
    """How many look-ups the whole of it takes."""
    own = sum(each.term.name in _LOOKS_UP for each in policy.terms)
    return own + sum(lookups(each.policy) for each in policy.terms if each.policy)


def voids(policy: Policy) -> int:
    """How many of them had an empty answer."""
    return sum(each.void + (voids(each.policy) if each.policy else 0) for each in policy.terms)


def included(policy: Policy) -> set[str]:
    """The domains whose records take part."""
    below = [included(each.policy) for each in policy.terms if each.policy]
    return {policy.domain, *(name for names in below for name in names)}


def judge(policy: Policy, addresses: Sequence[Address], include: str) -> list[Finding]:
    """Whether it lets these addresses and this relay send, and holds the limits that receivers set."""
    check = f"SPF of {policy.domain}"
    # What a macro stands for is known when a mail comes.
    level: Level = "warning" if _has_macros(policy) else "error"
    faults = [
        Finding(check, level, found, f"publish {proposed(policy, addresses, include)}")
        for found in _missing(policy, addresses, include)
    ]
    faults += [*_costs(check, policy), *_ending(check, policy)]
    if faults:
        return faults
    return [Finding(check, "ok", f"{policy.text} ({lookups(policy)} look-ups)")]


def _has_macros(policy: Policy) -> bool:
    return any("%" in each.term.value or (each.policy and _has_macros(each.policy)) for each in policy.terms)


def _missing(policy: Policy, addresses: Sequence[Address], include: str) -> Iterator[str]:
    for address in addresses:
        if (said := verdict(policy, address)) != "pass":
            yield f"{address}, from which we send, gets {said}: {policy.text}"
    if include and include.lower() not in included(policy):
        yield f"the relay's {include} is not included: {policy.text}"


def _costs(check: str, policy: Policy) -> Iterator[Finding]:
    if (taken := lookups(policy)) > MOST_LOOKUPS:
        dearest = max((each for each in policy.terms if each.policy), key=_cost, default=None)
        of = f"; {dearest.term.text} alone takes {_cost(dearest)}" if dearest else ""
        remedy = "remove what no longer sends for you, and give networks as ip4: and ip6: in place of a, mx and include"
        yield Finding(check, "error", f"takes {taken} look-ups, and receivers stop at {MOST_LOOKUPS}{of}", remedy)
    if (empty := voids(policy)) > MOST_VOIDS:
        remedy = "remove the terms whose names do not exist"
        yield Finding(check, "error", f"{empty} of its names have no address; receivers stop at {MOST_VOIDS}", remedy)
    if any(each.term.name == "ptr" for each in policy.terms):
        yield Finding(check, "warning", "uses ptr, which many receivers skip (RFC 7208, 5.5)", "name networks instead")


def _cost(each: Looked) -> int:
    return 1 + (lookups(each.policy) if each.policy else 0)


def _ending(check: str, policy: Policy) -> Iterator[Finding]:
    if goes_on := _redirect(policy):
        yield from _ending(check, goes_on)
        return
    last = next((each.term for each in policy.terms if each.term.name == "all"), None)
    if last is not None and last.qualifier == "+":
        yield Finding(
            check, "error", f"{last.text} lets everybody send as {policy.domain}", f"write ~all for {last.text}"
        )
    elif last is None or last.qualifier == "?":
        found = "ends without all" if last is None else "ends in ?all"
        yield Finding(check, "warning", f"{found}: says nothing of those who may not send", "end it in ~all or -all")


def proposed(policy: Policy | None, addresses: Sequence[Address], include: str, domain: str = "") -> str:
    """The record to publish: what is there, and what is missing before its end."""
    words = [each.term.text for each in policy.terms] if policy else ["~all"]
    wanted = [f"ip{each.version}:{each}" for each in addresses if not policy or verdict(policy, each) != "pass"]
    if include and not (policy and include.lower() in included(policy)):
        wanted.append(f"include:{include}")
    # Before whatever says no.
    at = next(
        (n for n, word in enumerate(words) if word[0] in "-~?" or word.lower().startswith("redirect=")), len(words)
    )
    return record(policy.domain if policy else domain, "TXT", " ".join(["v=spf1", *words[:at], *wanted, *words[at:]]))
