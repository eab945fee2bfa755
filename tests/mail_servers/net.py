"""The hosts and domains of the machine's network, and the DNS server that knows them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import cast

RESOLVER = "192.0.2.53"
SENDER = "192.0.2.5"  # who gives the mail to the server
SERVER = "192.0.2.10"  # the server whose reports are collected
RETURNS = "192.0.2.40"  # where the reports go
CUSTOMER, SMALL, AWAY = "192.0.2.20", "192.0.2.21", "192.0.2.22"

SERVER_NAME, OWN_DOMAIN, RETURN_DOMAIN = "mail.provider.example", "provider.example", "bounces.tickets.example"
HOME_DOMAIN = "home.example"  # of the server too, but one whose unknown users it refuses at RCPT
HOSTS = {
    "app.tickets.example": SENDER,
    SERVER_NAME: SERVER,
    "in.tickets.example": RETURNS,
    "mx.customer.example": CUSTOMER,
    "mx.small.example": SMALL,
    "mx.away.example": AWAY,
}
EXCHANGES = {
    "tickets.example": "in.tickets.example",
    RETURN_DOMAIN: "in.tickets.example",
    OWN_DOMAIN: SERVER_NAME,
    HOME_DOMAIN: SERVER_NAME,
    "customer.example": "mx.customer.example",
    "small.example": "mx.small.example",
    "away.example": "mx.away.example",  # where nobody listens
    "nullmx.example": "",  # RFC 7505
}
# Every other name does not exist.

A, PTR, MX = 1, 12, 15
NO_SUCH_NAME = 3


class _Resolver(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is not of that class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(answer(data), addr)


def answer(query: bytes) -> bytes:
    """The response to a query of one question (RFC 1035)."""
    name, end = _name(query)
    (kind,) = struct.unpack_from(">H", query, end)
    record = _record(name, kind)
    code = 0 if record or _exists(name) else NO_SUCH_NAME
    head = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, 1 if record else 0, 0, 0)
    # The answer's name is a pointer to the question's.
    tail = struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(record)) + record if record else b""
    return head + query[12 : end + 4] + tail


def _name(query: bytes) -> tuple[str, int]:
    """The question's name, and where it ends."""
    labels, place = [], 12
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode("latin-1").lower())
        place += 1 + length
    return ".".join(labels), place + 1


def _record(name: str, kind: int) -> bytes:
    if kind == A and name in HOSTS:
        return IPv4Address(HOSTS[name]).packed
    if kind == MX and name in EXCHANGES:
        return struct.pack(">H", 10 if EXCHANGES[name] else 0) + _encoded(EXCHANGES[name])
    if kind == PTR:
        return next(
            (_encoded(host) for host, address in HOSTS.items() if IPv4Address(address).reverse_pointer == name), b""
        )
    return b""


def _exists(name: str) -> bool:
    return name in HOSTS or name in EXCHANGES


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


@asynccontextmanager
async def resolving() -> AsyncIterator[None]:
    """The DNS server."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Resolver, (RESOLVER, 53))
    try:
        yield
    finally:
        transport.close()
