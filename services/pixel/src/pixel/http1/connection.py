"""One connection of a client: HTTP/1.x parsed by httptools, answered in the order of the requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import httptools
import structlog

from pixel.answers import Form, Kind
from pixel.verdict import HEADERS

log = structlog.get_logger()

MOST_URL = 2_048  # bytes
MOST_BYTES = 16_384  # of a request in all
MOST_PENDING = 32  # requests whose answers are not out; a client that sends more is not read for the time being

_WANTED = {name.encode(): name for name in HEADERS}


class Request(NamedTuple):
    """A request as far as the pixel looks at it; `headers` by their names in lower case, `peer` is an address."""

    method: str
    url: bytes
    headers: dict[str, str]
    peer: str


# Answers now or later, once.
Handler = Callable[[Request, Callable[[Kind], None]], None]


class House(Protocol):
    """What all connections share."""

    buffer: memoryview
    answers: dict[Form, bytes]
    handler: Handler
    stopping: bool

    def entered(self, connection: Connection) -> None:
        """A connection is made."""

    def busy(self, connection: Connection) -> None:
        """It has sent a whole request."""

    def waits(self, connection: Connection) -> None:
        """All that it has sent is answered."""

    def left(self, connection: Connection) -> None:
        """It is gone."""


class _Slot:
    """The place of an answer in the order of the requests."""

    __slots__ = ("answer", "body", "keep")

    def __init__(self, *, body: bool, keep: bool) -> None:
        self.body, self.keep = body, keep
        self.answer: Kind | None = None


class Connection(asyncio.BufferedProtocol):
    """Reads into the buffer that all share: what is in it is parsed before anything else is read."""

    __slots__ = (
        *("_closing", "_headers", "_house", "_parser", "_paused", "_peer", "_size", "_slots", "_stuck"),
        *("_transport", "_unread", "_url"),
    )

    def __init__(self, house: House) -> None:
        self._house = house
        self._slots: deque[_Slot] = deque()
        self._closing = self._stuck = self._paused = False
        self._begin()

    def _begin(self) -> None:
        self._url, self._size, self._unread = b"", 0, 0
        self._headers: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peername")
        self._peer: str = peer[0] if peer else ""
        self._house.entered(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Called by the loop."""
        self._closing = True
        del self._parser  # which holds us
        self._house.left(self)

    def get_buffer(self, _: int) -> memoryview:
        """Called by the loop."""
        return self._house.buffer

    def buffer_updated(self, count: int) -> None:
        """Called by the loop: so many bytes were read into the buffer."""
        if self._closing:
            return
        self._unread += count
        try:
            self._parser.feed_data(self._house.buffer[:count])
        except httptools.HttpParserUpgrade:  # offered, never wanted: what follows would be of another protocol
            self._last()
        except httptools.HttpParserCallbackError:
            log.exception("request failed")
            self.cut()
        except httptools.HttpParserError:
            self._refuse("bad-request")
        if self._unread > MOST_BYTES:
            self._refuse("too-large")

    def pause_writing(self) -> None:
        """Called by the loop: the client takes no answers, so its requests can wait too."""
        self._stuck = True
        self._regulate()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._stuck = False
        self._regulate()

    def _regulate(self) -> None:
        """Read from the client, or do not for the time being."""
        pause = self._stuck or len(self._slots) >= MOST_PENDING
        if pause != self._paused:
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def close(self) -> None:
        """End it when the client has taken its answers."""
        self._transport.close()

    def cut(self) -> None:
        """End it at once."""
        self._transport.abort()

    # What httptools calls.

    def on_url(self, part: bytes) -> None:
        """A part of the request's URL."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        self._size += len(name) + len(value)
        if (wanted := _WANTED.get(name.lower())) is not None:
            text = value.decode("latin-1")
            # A proxy may add a line of its own after the one that the client wrote.
            self._headers[wanted] = f"{self._headers[wanted]},{text}" if wanted in self._headers else text

    def on_message_complete(self) -> None:
        """The end of a request."""
        if self._closing or (self._slots and not self._slots[-1].keep):
            return
        method = self._parser.get_method().decode("latin-1")
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        slot = _Slot(body=method != "HEAD", keep=keep)
        self._house.busy(self)
        self._slots.append(slot)
        request, size = Request(method, self._url, self._headers, self._peer), self._size
        self._begin()
        if len(self._slots) >= MOST_PENDING:
            self._regulate()
        if len(request.url) > MOST_URL:
            self._answer(slot, "too-long")
        elif size > MOST_BYTES:
            self._answer(slot, "too-large")
        elif method not in ("GET", "HEAD"):
            self._answer(slot, "not-found")
        else:
            self._house.handler(request, partial(self._answer, slot))

    def _answer(self, slot: _Slot, kind: Kind) -> None:
        slot.answer = kind
        if slot is self._slots[0] and not self._transport.is_closing():
            self._send()

    def _send(self) -> None:
        """All answers that are next in order."""
        slots, out = self._slots, []
        while slots and not self._closing and (kind := slots[0].answer) is not None:
            slot = slots.popleft()
            self._closing = self._house.stopping or not slot.keep
            out.append(self._house.answers[Form(kind, slot.body, not self._closing)])
        self._transport.write(b"".join(out))
        if self._closing:
            self._transport.close()
        elif self._paused:
            self._regulate()
        if not slots or self._closing:
            self._house.waits(self)

    def _last(self) -> None:
        """Answer what is there, then close."""
        if self._slots:
            self._slots[-1].keep = False
        else:
            self._transport.close()

    def _refuse(self, kind: Kind) -> None:
        if not self._closing and (not self._slots or self._slots[-1].keep):
            self._house.busy(self)
            slot = _Slot(body=True, keep=False)
            self._slots.append(slot)
            self._answer(slot, kind)
