"""Fetches the certificates of Amazon SNS: never by way of a redirect, each once, and not without end."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import structlog

from bounce_ingest.webhooks.values import Refused

log = structlog.get_logger()

MOST_BYTES = 16 * 1024
MOST_KEPT = 32
WITHIN = aiohttp.ClientTimeout(total=5)
GOOD_FOR, BAD_FOR = 24 * 3600.0, 60.0  # seconds until one is fetched again


class Certificates:
    """Those that were fetched, by their URL. Whoever calls has made sure that the URL is one of SNS."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session, self._turn = session, asyncio.Lock()
        self._known: OrderedDict[str, tuple[float, bytes | None]] = OrderedDict()

    async def get(self, url: str) -> bytes:
        """The certificate as PEM; Refused (unavailable, so that SNS tries again) where it cannot be had."""
        if not self._is_known(url):
            async with self._turn:  # a flood of forged URLs costs one request at a time
                if not self._is_known(url):
                    await self._learn(url)
        if (certificate := self._known[url][1]) is None:
            raise Refused("unavailable", "the signing certificate cannot be had from SNS")
        return certificate

    def _is_known(self, url: str) -> bool:
        when, certificate = self._known.get(url, (-math.inf, None))
        return time.monotonic() - when < (BAD_FOR if certificate is None else GOOD_FOR)

    async def _learn(self, url: str) -> None:
        certificate = await self._fetch(url)
        self._known[url] = time.monotonic(), certificate
        self._known.move_to_end(url)
        if len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)

    async def _fetch(self, url: str) -> bytes | None:
        try:
            async with self._session.get(url, allow_redirects=False, timeout=WITHIN) as answer:
                certificate = await answer.content.read(MOST_BYTES + 1)
                if answer.status == 200 and len(certificate) <= MOST_BYTES:
                    return certificate
                reason = f"status {answer.status}, {len(certificate)} bytes"
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = repr(error)
        log.warning("no signing certificate", url=url, reason=reason)
        return None


@asynccontextmanager
async def fetching(connector: aiohttp.TCPConnector | None = None) -> AsyncIterator[Certificates]:
    """Fetch certificates while the block runs; over TLS, with the system's authorities."""
    async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
        yield Certificates(session)
