"""One connection of a client: HTTP/1.x parsed by httptools, answered in the order of the requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import httptools
import structlog

from pixel.answers import Form, Kind
from pixel.http1.wire import Wire
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


class Connection:
    """What a client sends, and its answers; it is told by its wire."""

    __slots__ = (
        *("_closing", "_gone", "_headers", "_house", "_parser", "_peer", "_refused", "_size", "_slots", "_stuck"),
        *("_unread", "_url", "_wire"),
    )

    def __init__(self, house: House, wire: Wire, peer: str) -> None:
        self._house, self._wire, self._peer = house, wire, peer
        self._parser = httptools.HttpRequestParser(self)
        self._slots: deque[_Slot] = deque()
        self._closing = self._gone = self._refused = self._stuck = False
        self._begin()

    def _begin(self) -> None:
        self._url, self._size, self._unread = b"", 0, 0
        self._headers: dict[str, str] = {}

    def received(self, count: int) -> None:
        """So many bytes are in the buffer."""
        if self._closing:
            return
        self._unread += count
        try:
            self._parser.feed_data(self._house.buffer[:count])
        except httptools.HttpParserUpgrade:  # offered, never wanted: what follows would be of another protocol
            self.ended()
        except httptools.HttpParserCallbackError:
            log.exception("request failed")
            self.cut()
        except httptools.HttpParserError:
            self._refuse("bad-request")
        if self._unread > MOST_BYTES:
            self._refuse("too-large")

    def ended(self) -> None:
        """The client sends no more; it may still want its answers."""
        if self._slots:
            self._slots[-1].keep = False
        else:
            self._wire.close()

    def stuck(self, stuck: bool) -> None:
        """The client takes no answers, so its requests can wait too; or does again."""
        self._stuck = stuck
        self._regulate()

    def lost(self) -> None:
        """The socket is closed."""
        self._closing = self._gone = True
        del self._parser  # which holds us
        self._house.left(self)

    def _regulate(self) -> None:
        """Read from the client, or do not for the time being."""
        slots = self._slots
        self._wire.pause(self._stuck or bool(slots and (len(slots) >= MOST_PENDING or not slots[-1].keep)))

    def close(self) -> None:
        """End it when the client has taken its answers."""
        self._wire.close()

    def cut(self) -> None:
        """End it at once."""
        self._wire.abort()

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
        if not keep or len(self._slots) >= MOST_PENDING:
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
        if slot is self._slots[0] and not self._closing:
            self._send()

    def _send(self) -> None:
        """All answers that are next in order."""
        slots, out, full = self._slots, [], len(self._slots) >= MOST_PENDING
        while slots and not self._closing and (kind := slots[0].answer) is not None:
            slot = slots.popleft()
            self._closing = self._house.stopping or not slot.keep
            out.append(self._house.answers[Form(kind, slot.body, not self._closing)])
        self._wire.write(out[0] if len(out) == 1 else b"".join(out))
        if self._gone:
            return
        if self._closing:
            self._end()
        elif full:
            self._regulate()
        if not slots and not self._gone:
            self._house.waits(self)

    def _end(self) -> None:
        if self._refused:
            self._slots.clear()
            self._regulate()
            self._wire.linger()
        else:
            self._wire.close()

    def _refuse(self, kind: Kind) -> None:
        if not self._closing and (not self._slots or self._slots[-1].keep):
            self._house.busy(self)
            self._refused = True
            slot = _Slot(body=True, keep=False)
            self._slots.append(slot)
            self._answer(slot, kind)
