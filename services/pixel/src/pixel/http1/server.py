"""Listens: how many connections at once, how long one may take, and how all end."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from pixel.answers import answers
from pixel.http1.connection import Connection, Handler
from pixel.http1.wire import Wire
from tracepost import metrics
from tracepost.runner import background
from tracepost.workers import listening

log = structlog.get_logger()

BUFFER_BYTES = 65_536
AT_ONCE = 100  # clients taken before others are served
OTHER_FILES = 100  # descriptors that are none of a client's


class Server:
    """All connections; the one that has waited longest makes room for a new one."""

    def __init__(self, handler: Handler, most: int, patience: float) -> None:
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.answers = answers(time.time())
        self.handler = handler
        self.stopping = False
        self._most, self._patience = most, patience
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        # Since when each is without a whole request, the longest first; what it has sent of one does not matter.
        self._waiting: OrderedDict[Connection, float] = OrderedDict()
        self._busy: set[Connection] = set()
        self._changed = asyncio.Event()

    def accept(self, listening: socket.socket) -> None:
        """Take the clients that are there; at the limit the one that has waited longest is cut for each."""
        for _ in range(AT_ONCE):
            try:
                client, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no more files, or no memory
                log.error("cannot take clients for a second", reason=str(error))
                self._loop.remove_reader(listening)
                self._loop.call_later(1, self.listen, listening)
                return
            client.setblocking(False)
            self._enter(Wire(client, self.buffer, self._loop), address[0])

    def _enter(self, wire: Wire, peer: str) -> None:
        connection = Connection(self, wire, peer)
        wire.listener = connection
        self._waiting[connection] = self._now()
        if len(self._waiting) + len(self._busy) > self._most:
            self._cut(next(iter(self._waiting)), "too many")  # perhaps itself
        wire.begin()

    def listen(self, listening: socket.socket) -> None:
        """Take clients from here on."""
        if not self.stopping:
            self._loop.add_reader(listening, self.accept, listening)

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
        self._waiting.pop(connection, None)
        metrics.CONNECTIONS_CUT.labels(why).inc()
        connection.cut()

    async def tick(self) -> None:
        """Again and again: the date of the answers, and an end to connections that take too long; runs for ever."""
        while True:
            self.answers = answers(time.time())
            for connection, since in list(self._waiting.items()):
                if since + self._patience > self._now():
                    break
                self._cut(connection, "too slow")
            await asyncio.sleep(min(1.0, self._patience / 4))

    async def stop(self) -> None:
        """Return when every request is answered and every connection closed."""
        self.stopping = True
        for connection in list(self._waiting):
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
    async with background(server.tick()):
        with where if isinstance(where, socket.socket) else listening(*where) as taking:
            taking.setblocking(False)
            server.listen(taking)
            try:
                yield taking.getsockname()[1]
            finally:
                asyncio.get_running_loop().remove_reader(taking)
                taking.close()
                await server.stop()


def _files() -> int:
    """How many files this process may have open, as many as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20
