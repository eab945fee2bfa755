"""Fetches the MTA-STS policies of domains over HTTPS and remembers them (RFC 8461); by aiohttp."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from sender.exchanges.resolver import Resolver
from sender.routing import sts
from sender.routing.cache import Cache
from sender.routing.mx import Nothing, Trouble
from sender.routing.sts import Kept, Policy
from tracepost import metrics

log = structlog.get_logger()

FETCH_SECONDS = 15.0
FAILED_SECONDS = 300.0  # that a policy which could not be had is not asked for again (section 3.3)
MOST_POLICIES = 10_000


class Known(NamedTuple):
    """A domain's policy, if it has one; it holds `until` (of the loop's time)."""

    policy: Policy | None
    until: float


class Shelf(Protocol):
    """Where policies outlive us."""

    async def all(self, most: int) -> Mapping[str, Kept]:
        """By domain."""

    async def keep(self, domain: str, kept: Kept) -> None:
        """In place of an older one."""


class Policies:
    """The policies that hold, and those that could not be had lately."""

    def __init__(self, resolver: Resolver, session: aiohttp.ClientSession, port: int, shelf: Shelf) -> None:
        self._resolver, self._session, self._port, self._shelf = resolver, session, port, shelf
        self._kept: Cache[str, Kept] = Cache(MOST_POLICIES)
        self._failed: Cache[str, str] = Cache(MOST_POLICIES)  # by domain, with the record's id

    async def load(self) -> None:
        """Remember what was known before."""
        for domain, kept in (await self._shelf.all(MOST_POLICIES)).items():
            self._kept.keep(domain, kept, kept.until)

    async def of(self, domain: str) -> Known:
        """What the domain asks of us; a policy that holds is not forgotten because it cannot be had now."""
        answer = await self._resolver.texts(f"_mta-sts.{domain}")
        id_ = None if isinstance(answer.found, Nothing | Trouble) else sts.record_id(answer.found)
        kept = self._kept.get(domain, time.time())
        if (kept and not kept.is_fresh(id_, time.time())) or (id_ and not kept):
            kept = await self._fetched(domain, id_ or (kept.id if kept else ""), kept)
        return Known(kept.policy if kept else None, answer.until)

    async def _fetched(self, domain: str, id_: str, kept: Kept | None) -> Kept | None:
        if self._failed.get(domain, time.time()) == id_:
            return kept
        try:
            policy = sts.read(await self._text(domain))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("no MTA-STS policy", domain=domain, reason=str(error) or type(error).__name__)
            metrics.STS_POLICIES.labels("failed").inc()
            self._failed.keep(domain, id_, time.time() + FAILED_SECONDS)
            return kept
        metrics.STS_POLICIES.labels(policy.mode).inc()
        found = Kept(policy, id_, time.time())
        self._kept.keep(domain, found, found.until)
        await self._shelf.keep(domain, found)
        return found

    async def _text(self, domain: str) -> str:
        """The policy file; ValueError for an answer that is none (section 3.3)."""
        url = f"https://mta-sts.{domain}:{self._port}/.well-known/mta-sts.txt"
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"was answered {answer.status}")
            if answer.content_type != "text/plain":
                raise ValueError(f"is {answer.content_type}, not text/plain")
            body = b""
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > sts.MOST_BYTES:
                    raise ValueError(f"has more than {sts.MOST_BYTES} bytes")
            return body.decode()


class _Names(AbstractResolver):
    """Hosts of policies are looked up where mail servers are."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = (await self._resolver.addresses(host)).found
        if isinstance(found, Nothing | Trouble):
            raise OSError(f"{host} has no address that could be found")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """There is nothing to close."""


@asynccontextmanager
async def fetching(
    resolver: Resolver, context: ssl.SSLContext, shelf: Shelf, port: int = 443
) -> AsyncIterator[Policies]:
    """Policies, with the connections that they are fetched over."""
    connector = aiohttp.TCPConnector(resolver=_Names(resolver), ssl=context, force_close=True, limit=20)
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    headers = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, auto_decompress=False, trust_env=False
    ) as session:
        policies = Policies(resolver, session, port, shelf)
        await policies.load()
        yield policies
