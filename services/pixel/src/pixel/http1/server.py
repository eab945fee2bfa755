"""Listens: how many connections at once, how long one may take, and how all end."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from pixel.answers import answers
from pixel.http1.connection import Connection, Handler
from tracepost import metrics
from tracepost.runner import background

log = structlog.get_logger()

BUFFER_BYTES = 65_536
BACKLOG = 4_096
OTHER_FILES = 100  # descriptors that are none of a client's


class Server:
    """All connections; the one that has waited longest makes room for a new one."""

    def __init__(self, handler: Handler, most: int, patience: float) -> None:
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.answers = answers(time.time())
        self.handler = handler
        self.stopping = False
        self._most, self._patience = most, patience
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        # Since when each is without a whole request, the longest first; what it has sent of one does not matter.
        self._waiting: dict[Connection, float] = {}
        self._busy: set[Connection] = set()
        self._changed = asyncio.Event()

    def entered(self, connection: Connection) -> None:
        """A connection is made; at the limit the one that has waited longest is cut for it."""
        self._waiting[connection] = self._now()
        if len(self._waiting) + len(self._busy) > self._most:
            self._cut(next(iter(self._waiting)), "too many")

    def busy(self, connection: Connection) -> None:
        """It has sent a whole request."""
        self._waiting.pop(connection, None)
        self._busy.add(connection)

    def waits(self, connection: Connection) -> None:
        """All that it has sent is answered."""
        self._busy.discard(connection)
        self._waiting[connection] = self._now()
        self._changed.set()

    def left(self, connection: Connection) -> None:
        """It is gone."""
        self._waiting.pop(connection, None)
        self._busy.discard(connection)
        self._changed.set()

    def _cut(self, connection: Connection, why: str) -> None:
        del self._waiting[connection]
        metrics.CONNECTIONS_CUT.labels(why).inc()
        connection.cut()

    async def tick(self) -> None:
        """Every second: the date of the answers, and an end to connections that take too long; runs for ever."""
        while True:
            self.answers = answers(time.time())
            for connection, since in list(self._waiting.items()):
                if since + self._patience > self._now():
                    break
                self._cut(connection, "too slow")
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Return when every request is answered and every connection closed."""
        self.stopping = True
        for connection in self._waiting:
            connection.close()
        while self._waiting or self._busy:
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def serving(
    handler: Handler, where: tuple[str, int] | socket.socket, *, most: int, patience: float
) -> AsyncIterator[int]:
    """Serve until the block ends, requests answered; yields the port. A connection may take `patience` seconds."""
    server = Server(handler, min(most, _files() - OTHER_FILES), patience)
    loop = asyncio.get_running_loop()
    async with background(server.tick()):
        if isinstance(where, socket.socket):
            listening = await loop.create_server(lambda: Connection(server), sock=where, backlog=BACKLOG)
        else:
            listening = await loop.create_server(lambda: Connection(server), *where, backlog=BACKLOG)
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            listening.close()
            await server.stop()


def _files() -> int:
    """How many files this process may have open, as many as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20
