"""Listens for mail until the end, and then finishes what is in hand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from socket import socket

import structlog

from bounce_ingest.smtp.door import Door
from bounce_ingest.smtp.server import LmtpServer, Manners, Server
from tracepost.runner import Unavailable

log = structlog.get_logger()

GOODBYE = "421 4.3.2 the service is stopping"
LOOK_AT_CERTIFICATE = 60.0  # seconds


@asynccontextmanager
async def serving(
    door: Door, manners: Manners, smtp: Sequence[socket], lmtp: Sequence[socket] = ()
) -> AsyncIterator[None]:
    """Serve what connects to these sockets until the block ends, then finish the mails in hand."""
    loop = asyncio.get_running_loop()
    connections: set[Server] = set()
    servers = [
        await loop.create_server(partial(kind, door, manners, connections), sock=taking)
        for kind, sockets in ((Server, smtp), (LmtpServer, lmtp))
        for taking in sockets
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await _finish(connections)


async def _finish(connections: set[Server]) -> None:
    for each in list(connections):
        each.close(GOODBYE)
    while busy := sum(each.is_busy for each in connections):
        log.info("finishing mails", in_hand=busy)
        await asyncio.sleep(0.1)


class Certificate:
    """A certificate chain and its key in files, read again when they have changed; Unavailable at first."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self._read = self._changed()
            self.context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"the certificate cannot be used: {error}; check TLS_CERTIFICATE and TLS_KEY") from error

    def _changed(self) -> tuple[float, ...]:
        return tuple(file.stat().st_mtime for file in (self._chain, self._key))

    async def follow(self) -> None:
        """Take up a new one, for sessions that begin later; runs for ever."""
        while True:
            await asyncio.sleep(LOOK_AT_CERTIFICATE)
            try:
                if (now := self._changed()) != self._read:
                    self.context.load_cert_chain(self._chain, self._key)
                    self._read = now
                    log.info("took up a new certificate")
            except (OSError, ssl.SSLError) as error:
                log.error("cannot read the certificate; the old one stays", reason=str(error))
