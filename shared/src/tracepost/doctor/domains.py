"""What is examined, and what is to be said of mail exchangers, sending addresses and the tracking host; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol

from tracepost.dkim_private import Key
from tracepost.doctor.findings import Finding
from tracepost.doctor.publishing import record

Address = IPv4Address | IPv6Address

CERTIFICATE_DAYS = 14  # what is left of a certificate that somebody should have renewed

_OF_CUSTOMERS = re.compile(
    r"(?:^|[.-])(?:dhcp|dial|dialup|dsl|adsl|dyn|dynamic|pool|ppp|cable|broadband)[0-9]*(?=[.-])"
)


@dataclass(frozen=True, slots=True)
class Domains:
    """A sending domain, and what sends for it; what is empty is not known, and not looked at.

    `addresses` are those that recipients' servers see, `include` is the domain of a relay's SPF record, `hostname` our
    name in EHLO, `tracking` the URL under which recipients reach the pixel.
    """

    sender: str
    bounce: str = ""
    tracking: str = ""
    hostname: str = ""
    addresses: tuple[Address, ...] = ()
    include: str = ""
    keys: tuple[Key, ...] = ()


class Exchange(NamedTuple):
    """An MX record; its host is empty in a null MX (RFC 7505)."""

    preference: int
    host: str


class Records(Protocol):
    """DNS; what is not there is an empty answer."""

    async def texts(self, name: str) -> Sequence[str]:
        """TXT records, the strings of each joined."""

    async def exchanges(self, name: str) -> Sequence[Exchange]:
        """MX records, by preference."""

    async def addresses(self, name: str) -> Sequence[Address]:
        """A and AAAA records, also behind a CNAME."""

    async def names(self, address: Address) -> Sequence[str]:
        """PTR records."""

    async def alias(self, name: str) -> str:
        """What a CNAME record points at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A host that mail is exchanged with: its addresses, the CNAME that it is, its greeting or why there is none."""

    host: str
    addresses: Sequence[Address] = ()
    alias: str = ""
    greeting: str = ""
    fault: str = ""


def replies(domain: str, exchanges: Sequence[Exchange], addresses: Sequence[Address]) -> Finding:
    """Whether answers to mail from the domain have somewhere to go: receivers refuse a sender who takes none."""
    check = f"MX of {domain}"
    remedy = f"publish {record(domain, 'MX', '10 <the server that takes mail for the domain>.')}"
    if any(not each.host for each in exchanges):
        found = "a null MX says that the domain takes no mail; receivers refuse what it sends (RFC 7505, 4.2)"
        return Finding(check, "error", found, f"remove it, and {remedy}")
    if exchanges:
        return Finding(check, "ok", ", ".join(f"{each.preference} {each.host}" for each in exchanges))
    if addresses:
        return Finding(check, "warning", "no MX; mail goes to the domain's own address, as long as it has one", remedy)
    return Finding(check, "error", "neither MX nor address: replies have nowhere to go", remedy)


def returns(domain: str, exchanges: Sequence[Exchange], answers: Sequence[Answer]) -> list[Finding]:
    """Whether returned mail comes to bounce-ingest; of each exchanger what it answers, in order."""
    check = f"MX of {domain}"
    remedy = f"publish {record(domain, 'MX', '10 <the host of bounce-ingest>.')}"
    if any(not each.host for each in exchanges):
        return [Finding(check, "error", "a null MX: mail that is returned goes nowhere", f"remove it, and {remedy}")]
    found = [_exchanger(f"{check}: {each.host}", each) for each in answers]
    if not exchanges and not answers[0].addresses:
        return [Finding(check, "error", "neither MX nor address: mail that is returned is lost", remedy)]
    if not exchanges:
        found.append(Finding(check, "warning", "no MX; mail goes to the domain's own address", remedy))
    return found


def _exchanger(check: str, answer: Answer) -> Finding:
    if answer.alias:
        remedy = f"name {answer.alias} in the MX record: it may not point at a CNAME (RFC 2181, 10.3)"
        return Finding(check, "error", f"is a CNAME of {answer.alias}", remedy)
    if not answer.addresses:
        return Finding(check, "error", "has no address", f"publish {record(answer.host, 'A', '<its address>')}")
    if answer.fault:
        remedy = "start bounce-ingest there (its SMTP_PORT behind port 25), and let port 25 through the firewall"
        return Finding(check, "error", answer.fault, remedy)
    if "tracepost" not in answer.greeting.lower():
        remedy = "make sure that it hands on all mail for the domain to bounce-ingest, or point the MX there"
        return Finding(check, "warning", f"another server answers: {answer.greeting}", remedy)
    return Finding(check, "ok", f"answers: {answer.greeting}")


def reverse(address: Address, names: Sequence[str], forward: Mapping[str, Sequence[Address]], hostname: str) -> Finding:
    """The PTR record of a sending address: forward-confirmed, of a mail server, and the name that we greet with."""
    check = f"PTR of {address}"
    name = hostname or "<the name of your mail server>"
    remedy = (
        f"have who gave you the address publish {record(address.reverse_pointer, 'PTR', f'{name}.')}"
        f", and publish {record(name, 'A' if address.version == 4 else 'AAAA', str(address))}"
    )
    if not names:
        return Finding(check, "error", "has no name; large receivers refuse mail from it", remedy)
    confirmed = [each for each in names if address in forward.get(each, ())]
    if not confirmed:
        found = f"is named {', '.join(names)}, which does not have this address"
        return Finding(check, "error", found, remedy)
    if all(generic(each, address) for each in confirmed):
        found = f"{confirmed[0]} looks like the name of a customer's line, from which no mail is taken"
        return Finding(check, "warning", found, remedy)
    if hostname and hostname.lower() not in confirmed:
        found = f"is named {', '.join(confirmed)}, and we greet as {hostname}"
        return Finding(check, "warning", found, f"set HOSTNAME to {confirmed[0]}, or {remedy}")
    return Finding(check, "ok", f"is {', '.join(confirmed)}, which has this address")


def generic(name: str, address: Address) -> bool:
    """Whether a name is one of many made by rule: it holds the address, or words of dial-up lines."""
    first = name.lower().partition(".")[0]
    if _OF_CUSTOMERS.search(name.lower()):
        return True
    if isinstance(address, IPv6Address):
        return address.exploded[-19:].replace(":", "") in re.sub("[^0-9a-f]", "", first)
    octets = [str(octet) for octet in address.packed]
    numbers = [str(int(each)) for each in re.findall(r"\d{1,3}", name)]
    holds = any(numbers[at : at + 4] in (octets, octets[::-1]) for at in range(len(numbers)))
    return holds or address.packed.hex() in first


def tracking(
    host: str, addresses: Sequence[Address], alias: str, *, https: bool, left: timedelta | None, fault: str
) -> list[Finding]:
    """The host of the pixel, and its certificate: what is `left` of it, or by `fault` why it does not hold."""
    check = f"tracking host {host}"
    if not addresses:
        found = f"points at {alias}, which has no address" if alias else "has no address"
        return [Finding(check, "error", found, f"publish {record(host, 'A', '<the address of the pixel>')}")]
    way = f"is {alias}, at " if alias else "is at "
    reached = Finding(check, "ok", way + ", ".join(map(str, addresses)))
    return [reached, _certificate(f"certificate of {host}", https=https, left=left, fault=fault)]


def _certificate(check: str, *, https: bool, left: timedelta | None, fault: str) -> Finding:
    if not https:
        remedy = "serve the pixel by HTTPS, and write PIXEL_URL with https://"
        return Finding(check, "warning", "PIXEL_URL is http:// and mail clients block such images", remedy)
    if left is None:
        remedy = (
            "have a certificate issued for this name, and the server in front of the pixel present it with its chain"
        )
        return Finding(check, "error", fault, remedy)
    if left < timedelta(days=CERTIFICATE_DAYS):
        return Finding(
            check, "warning", f"ends in {left.days} days", "renew it, and see why that did not happen by itself"
        )
    return Finding(check, "ok", f"holds for {left.days} days")
