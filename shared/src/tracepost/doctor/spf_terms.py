"""The terms of an SPF record (RFC 7208, 4.6.1 and 5); pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

Network = IPv4Network | IPv6Network

_TERM = re.compile(
    r"(?P<qualifier>[-+?~]?)(?P<name>all|include|a|mx|ptr|ip4|ip6|exists)"
    r"(?::(?P<value>[^/\s]\S*?))?(?P<lengths>(?:/\d{1,3})?(?://\d{1,3})?)",
    re.IGNORECASE,
)
_MODIFIER = re.compile(r"(?P<name>[a-z][a-z0-9_.-]*)=(?P<value>\S*)", re.IGNORECASE)
_HOST = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}\.?", re.IGNORECASE)


class Term(NamedTuple):
    """A mechanism or modifier: its qualifier, name, what follows the colon, and the lengths of its prefixes."""

    text: str
    qualifier: str
    name: str
    value: str = ""
    lengths: tuple[int, int] = (32, 128)


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a record; ValueError says what is wrong with it."""
    version, *words = text.split(" ")
    if version.lower() != "v=spf1":
        raise ValueError("it does not begin with v=spf1")
    terms = tuple(_term(word) for word in words if word)
    names = [term.name for term in terms]
    for name in ("redirect", "exp"):
        if names.count(name) > 1:
            raise ValueError(f"it gives {name}= twice")
    return terms


def _term(word: str) -> Term:
    if found := _MODIFIER.fullmatch(word):
        name, value = found["name"].lower(), found["value"]
        if name == "redirect" and not _host(value):
            raise ValueError(f"{word!r} names no domain")
        return Term(word, "", name, value)
    found = _TERM.fullmatch(word)
    if found is None:
        raise ValueError(f"{word!r} is no term of SPF")
    name, value, lengths = found["name"].lower(), found["value"] or "", found["lengths"]
    if name in {"ip4", "ip6"}:
        network(name, value + lengths)
        return Term(word, found["qualifier"] or "+", name, value + lengths)
    if (lengths and name not in {"a", "mx"}) or (value and name == "all"):
        raise ValueError(f"{word!r} says more than {name} may say")
    if (name in {"include", "exists"} and not value) or (value and not _host(value)):
        raise ValueError(f"{word!r} names no domain")
    return Term(word, found["qualifier"] or "+", name, value, _lengths(lengths, word))


def _host(value: str) -> bool:
    return "%" in value or _HOST.fullmatch(value) is not None  # a macro stands for something else in each mail


def network(name: str, value: str) -> Network:
    """What `ip4:` or `ip6:` names; ValueError says what is wrong with it."""
    try:
        found = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"'{name}:{value}' holds no network") from None
    if found.version != int(name[2]):
        raise ValueError(f"'{name}:{value}' holds a network of IPv{found.version}; write ip{found.version}:{value}")
    return found


def _lengths(text: str, word: str) -> tuple[int, int]:
    four, _, six = text.partition("//")
    found = int(four[1:] or 32), int(six or 128)
    if found[0] > 32 or found[1] > 128:
        raise ValueError(f"{word!r} holds a prefix that is too long")
    return found
