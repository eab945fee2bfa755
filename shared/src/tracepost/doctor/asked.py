"""Reads what is to be examined as people and the environment write it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import dns.asyncresolver
from dns.nameserver import Do53Nameserver

from tracepost import dkim_keys, dkim_private
from tracepost.addresses import parse
from tracepost.dkim_keys import KeyFile
from tracepost.dkim_private import Key
from tracepost.doctor.domains import Address, Domains
from tracepost.settings import parts


def read(
    domain: str,
    *,
    bounce_domain: str = "",
    pixel_url: str = "",
    hostname: str = "",
    addresses: Iterable[str] = (),
    include: str = "",
    keys: str = "",
) -> Domains:
    """The domains, those of the sender's settings named as there; ValueError or OSError says what cannot be read."""
    return Domains(
        sender=_domain(domain),
        bounce=_domain(bounce_domain),
        tracking=pixel_url,
        hostname="" if hostname == "localhost" else hostname,  # the setting's default, which is no name
        addresses=tuple(map(_address, addresses)),
        include=_domain(include),
        keys=tuple(map(_key, dkim_keys.read(parts(keys)))),
    )


def resolver(nameservers: Iterable[str]) -> dns.asyncresolver.Resolver:
    """Asks these, `192.0.2.53` or `192.0.2.53@5353`, or without any the system's; ValueError says which is none."""
    named = [_nameserver(*each.partition("@")[::2]) for each in nameservers]
    made = dns.asyncresolver.Resolver(configure=not named)
    if named:
        made.nameservers = named
    return made


def _nameserver(host: str, port: str) -> Do53Nameserver:
    return Do53Nameserver(str(_address(host)), int(port or 53))


def _domain(text: str) -> str:
    """In ASCII and lower case; ValueError says what is wrong with it."""
    return parse(f"a@{text.rstrip('.')}").domain if text else ""


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address; write it like 192.0.2.5 or 2001:db8::5") from None


def _key(file: KeyFile) -> Key:
    try:
        return Key(file.domain, file.selector, dkim_private.private(Path(file.path).read_bytes()), file.begins)
    except ValueError as error:
        raise ValueError(f"{file.path} {error}") from None
