"""The fast path: who asks plainly for a message is answered without aiohttp, which would double the cost.

A connection begins here. With the first request that is not plain, or has no good answer, it is aiohttp's for good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import lru_cache, partial
from typing import cast

from aiohttp.http import SERVER_SOFTWARE

from status_store.plain import Asked, understood
from status_store.point import Point, etag, told
from tracepost.keys import Client, Keys
from tracepost.runner import background

Protocol = Callable[[], asyncio.Protocol]
Read = Callable[[str], asyncio.Future[Point | None]]

PATIENCE = 3_630.0  # seconds that a client may ask nothing, as with aiohttp


class House:
    """What all connections share."""

    def __init__(self, read: Read, keys: Keys, ordinary: Protocol) -> None:
        self.read, self.keys, self.ordinary = read, keys, ordinary
        self.connections: set[Connection] = set()
        self.stopping = False
        self.now = asyncio.get_running_loop().time

    async def tend(self, patience: float) -> None:
        """Close the connections of clients that ask nothing for so long; runs for ever."""
        while True:
            await asyncio.sleep(patience / 10)
            for each in self.connections:
                if not each.answer and self.now() - each.since > patience:
                    each.transport.close()

    async def stop(self) -> None:
        """Return when every request is answered, and the connections are closed or aiohttp's."""
        self.stopping = True
        if waits := [each.answer for each in self.connections if each.answer]:
            await asyncio.wait(waits)
        for each in self.connections:
            each.transport.close()


class Connection(asyncio.Protocol):
    """One client: a request, its answer, the next request."""

    transport: asyncio.Transport

    def __init__(self, house: House) -> None:
        self._house = house
        self._unread = b""
        self._stuck = False  # the client does not take its answers
        self.answer: asyncio.Future[Point | None] | None = None
        self.since = house.now()  # when it has last come, or got an answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = cast(asyncio.Transport, transport)
        self._house.connections.add(self)
        if self._house.stopping:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        """It is gone, and asks no more."""
        self._house.connections.discard(self)
        if self.answer:
            self.answer.cancel()

    def pause_writing(self) -> None:
        """It has many answers to take yet."""
        self._stuck = True

    def resume_writing(self) -> None:
        """It has taken them."""
        self._stuck = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take it, if it is its turn."""
        self._unread += data
        self._go_on()

    def _go_on(self) -> None:
        if self.answer or self._stuck or self._house.stopping:
            self.transport.pause_reading()
        elif self._unread:
            data, self._unread = self._unread, b""
            self._take(data)
        else:
            self.transport.resume_reading()

    def _take(self, data: bytes) -> None:
        asked = understood(data)
        client = self._house.keys.find(asked.key) if asked else None
        if asked is None or client is None or "read" not in client.scopes:
            self._hand_over(data)
        else:
            self.answer = self._house.read(asked.message_id)
            self.answer.add_done_callback(partial(self._answered, data, asked, client))

    def _answered(self, data: bytes, asked: Asked, client: Client, answer: asyncio.Future[Point | None]) -> None:
        self.answer = None
        if answer.cancelled():
            return
        try:
            response = _response(answer.result(), asked.known, client)
        except Exception:  # aiohttp meets it again, and tells of it
            response = None
        if response is None:
            self._hand_over(data + self._unread)
        else:
            self.transport.write(response)
            self.since = self._house.now()
            self._go_on()

    def _hand_over(self, data: bytes) -> None:
        protocol = self._house.ordinary()
        self._house.connections.discard(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        self.transport.resume_reading()
        protocol.data_received(data)


@asynccontextmanager
async def fast_path(read: Read, keys: Keys, ordinary: Protocol, patience: float = PATIENCE) -> AsyncIterator[Protocol]:
    """What speaks HTTP on a connection, each time a new one; at the end of the block open requests are answered."""
    house = House(read, keys, ordinary)
    async with background(house.tend(patience)):
        try:
            yield partial(Connection, house)
        finally:
            await house.stop()


def _response(found: Point | None, known: str | None, client: Client) -> bytes | None:
    """The whole of it, or None where there is no message that is the client's business."""
    if found is None or not client.may_see(found.app):
        return None
    tag, common = etag(found), _common(int(time.time()))
    if known == tag:
        return f"HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n{common}".encode()
    body = told(found)
    head = (
        f"HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{common}"
    )
    return head.encode() + body


@lru_cache(1)
def _common(now: int) -> str:
    """The end of every head, in this second since the epoch."""
    return f"Vary: Origin\r\nDate: {formatdate(now, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
