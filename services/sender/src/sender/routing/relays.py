"""Reads what settings say of relays: where they are, which domains go by them, and who we are to them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from sender.routing.hops import SCHEMES, Hop, Login
from sender.routing.named import domain

Given = Hop | Literal["mx"]
"""A relay, or the servers that the recipient's domain names."""

_RELAY = re.compile(
    r"(?:(?P<scheme>[a-z+]+)://)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?", re.IGNORECASE
)
_FORMS = "mail.example.org:25, smtp+starttls://mail.example.org:587, smtps://mail.example.org, or mx"


class Entry(NamedTuple):
    """A destination whose mail goes elsewhere."""

    destination: str
    to: Given

    def __str__(self) -> str:
        return f"{self.destination}={self.to}"


def read(entries: Iterable[str]) -> tuple[Given, ...]:
    """From `mail.example.org:25`, `smtp+starttls://…`, `smtps://…` or `mx`; ValueError names an entry that is none."""
    return tuple(map(_given, entries))


def read_routes(entries: Iterable[str]) -> tuple[Entry, ...]:
    """From `example.org=<relay>`, once for each relay; ValueError names an entry that is none."""
    return tuple(map(_entry, entries))


def read_logins(text: str) -> dict[str, Login]:
    """From lines of `host user:password`, by host; ValueError tells the line that is none, but not what it says."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        host, _, login = line.strip().partition(" ")
        user, is_login, password = login.strip().partition(":")
        if line.strip():
            if not (is_login and user and password):
                raise ValueError(f"line {number} is no login; write it as mail.example.org user:password")
            found[host.lower()] = Login(user, password)
    return found


def with_login(hop: Hop, logins: Mapping[str, Login]) -> Hop:
    """The relay with what is known of it; ValueError where a password would go over the wire for all to read."""
    login = logins.get(hop.host)
    if login and hop.tls == "may":
        remedy = f"write the relay as smtp+starttls://{hop.name} or smtps://{hop.host}"
        raise ValueError(f"a password for {hop.name} would go without TLS; {remedy}")
    return Hop(hop.host, hop.port, hop.tls, login=login) if login else hop


def _given(entry: str) -> Given:
    if entry.strip().lower() == "mx":
        return "mx"
    found = _RELAY.fullmatch(entry.strip())
    scheme = (found["scheme"] or "smtp").lower() if found else ""
    if found is None or scheme not in SCHEMES or not 0 < int(found["port"] or 1) < 65536:
        raise ValueError(f"{entry!r} is no relay; write it as {_FORMS}")
    tls, port = SCHEMES[scheme]
    return Hop(found["host"].strip("[]").lower(), int(found["port"] or port), tls)


def _entry(entry: str) -> Entry:
    destination, _, relay = entry.partition("=")
    try:
        return Entry(domain(destination), _given(relay))
    except ValueError:
        raise ValueError(f"{entry!r} is no route; write it as example.org=<relay>, a relay as {_FORMS}") from None
