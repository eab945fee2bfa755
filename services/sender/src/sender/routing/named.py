"""Reads what settings say of domains, of name servers, and of the servers that are ourselves; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from sender.routing.mx import Us
from tracepost.addresses import parse

DNS_PORT = 53

_NAME_SERVER = re.compile(r"\[([0-9a-fA-F:.]+)\]:([0-9]{1,5})|([0-9.]+):([0-9]{1,5})|\[?([0-9a-fA-F:.]+)\]?")


class NameServer(NamedTuple):
    """Who is asked about DNS."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def domain(text: str) -> str:
    """In ASCII and lower case; ValueError for what is none."""
    try:
        return parse(f"a@{text.strip()}").domain
    except ValueError:
        raise ValueError(f"{text.strip()!r} is no domain; write it as example.org") from None


def read_domains(entries: Iterable[str]) -> tuple[str, ...]:
    """Domains, or `*` for all; ValueError names what is neither."""
    return tuple(each if each == "*" else domain(each) for each in entries)


def read_name_servers(entries: Iterable[str]) -> tuple[NameServer, ...]:
    """From `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:53`; ValueError names an entry that is none."""
    return tuple(map(_name_server, entries))


def read_us(entries: Iterable[str], hostname: str) -> Us:
    """From hosts, addresses and networks; ValueError names what is none of them."""
    names, networks = {hostname.lower()}, []
    for each in entries:
        try:
            networks.append(ip_network(each, strict=False))
        except ValueError:
            names.add(domain(each))
    return Us(frozenset(names), networks)


def _name_server(entry: str) -> NameServer:
    found = _NAME_SERVER.fullmatch(entry)
    address, port = ([each for each in found.groups() if each] + [str(DNS_PORT)])[:2] if found else ("", "0")
    try:
        if not 0 < int(port) < 65536:
            raise ValueError
        return NameServer(str(ip_address(address)), int(port))
    except ValueError:
        raise ValueError(f"{entry!r} is no name server; write it as 192.0.2.53 or [2001:db8::53]:53") from None
