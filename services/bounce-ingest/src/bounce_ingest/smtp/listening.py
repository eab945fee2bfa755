"""Listens for mail until the end, and then finishes what is in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from socket import socket

import structlog

from bounce_ingest.smtp.door import Door
from bounce_ingest.smtp.server import LmtpServer, Manners, Server

log = structlog.get_logger()

GOODBYE = "421 4.3.2 the service is stopping"


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
