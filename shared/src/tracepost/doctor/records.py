"""Asks DNS, by dnspython, and the servers that it names."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from tracepost.doctor.domains import Address, Exchange

PATIENCE = 10.0  # seconds for one server


class Unanswered(Exception):
    """DNS said neither yes nor no; the text says of what."""


class Dns:
    """The records of a domain, each asked for once; what is not there is an empty answer."""

    def __init__(self, resolver: dns.asyncresolver.Resolver) -> None:
        self._resolver = resolver
        self._asked: dict[tuple[str, str], asyncio.Task[list[Any]]] = {}

    async def texts(self, name: str) -> Sequence[str]:
        """TXT records, the strings of each joined."""
        return [b"".join(each.strings).decode("utf-8", "replace") for each in await self._ask(name, "TXT")]

    async def exchanges(self, name: str) -> Sequence[Exchange]:
        """MX records, by preference."""
        found = [Exchange(each.preference, _written(each.exchange)) for each in await self._ask(name, "MX")]
        return sorted(found)

    async def addresses(self, name: str) -> Sequence[Address]:
        """A and AAAA records, also behind a CNAME."""
        four, six = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"))
        return [ip_address(each.address) for each in (*four, *six)]

    async def names(self, address: Address) -> Sequence[str]:
        """PTR records."""
        return [_written(each.target) for each in await self._ask(address.reverse_pointer, "PTR")]

    async def alias(self, name: str) -> str:
        """What a CNAME record points at."""
        return next((_written(each.target) for each in await self._ask(name, "CNAME")), "")

    async def _ask(self, name: str, kind: str) -> list[Any]:
        key = name.lower(), kind
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._answered(name, kind))
        return await self._asked[key]

    async def _answered(self, name: str, kind: str) -> list[Any]:
        try:
            return list(await self._resolver.resolve(f"{name.rstrip('.')}.", kind))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise Unanswered(f"DNS gave no answer about {kind} of {name}: {error}") from None


def _written(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).removesuffix(".").lower()


async def greeting(host: Address, port: int) -> str:
    """What a mail server says to a new client; OSError or TimeoutError when it says nothing."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(str(host), port)
        try:
            said = await reader.readline()
            writer.write(b"QUIT\r\n")
            await writer.drain()
        finally:
            writer.close()
    return said.decode("utf-8", "replace").strip()


async def certificate(host: str, at: Address, port: int, trust: ssl.SSLContext | None) -> timedelta:
    """What is left of a server's certificate; OSError or TimeoutError when it has none that holds."""
    context = trust or ssl.create_default_context()
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(str(at), port, ssl=context, server_hostname=host)
        try:
            shown = writer.get_extra_info("peercert")
        finally:
            writer.close()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC) - datetime.now(UTC)
