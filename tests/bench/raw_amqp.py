"""A blocking AMQP connection that does as little as it can: what the broker itself allows, and a quick way to look."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType

from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader, ProtocolHeader
from yarl import URL

METHOD, HEADER, BODY = 1, 2, 3
ACK, DELIVER = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x3c"
CHUNK, WINDOW = 100, 2_000


def encoded(exchange: str, key: str, body: bytes, content_type: str, user_id: str | None = None) -> bytes:
    """The three frames of a persistent, mandatory message on channel 1."""
    properties = commands.Basic.Properties(content_type=content_type, delivery_mode=2, message_id="1", user_id=user_id)
    parts = (
        commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True),
        ContentHeader(body_size=len(body), properties=properties),
        ContentBody(body),
    )
    return b"".join(frame.marshal(part, 1) for part in parts)


class Raw:
    """One connection with one channel in confirm mode."""

    def __init__(self, url: str) -> None:
        where = URL(url)
        self._socket = socket.create_connection((where.host or "", where.port or 0), timeout=30)
        self._frames = self._read()
        self._socket.sendall(ProtocolHeader().marshal())
        self._expect(0, b"\x00\x0a\x00\x0a")  # connection.start
        login = f"\0{where.user}\0{where.password}"
        self._send(0, commands.Connection.StartOk({}, "PLAIN", login, "en_US"))
        self._expect(0, b"\x00\x0a\x00\x1e")  # connection.tune
        self._send(0, commands.Connection.TuneOk(1, 131_072, 0))
        self._call(0, commands.Connection.Open(virtual_host=where.path[1:] or "/"))
        self._call(1, commands.Channel.Open())
        self._call(1, commands.Confirm.Select())

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()

    def publish(self, messages: Sequence[bytes]) -> int:
        """Send encoded messages in chunks, and return when every one is confirmed."""
        confirmed, done = 0, bytearray(len(messages) + 1)
        low = 1
        for start in range(0, len(messages) + WINDOW, CHUNK):
            self._socket.sendall(b"".join(messages[start : start + CHUNK]))
            while confirmed < min(start + CHUNK - WINDOW, len(messages)):
                payload = next(payload for kind, payload in self._frames if kind == METHOD and payload[:4] == ACK)
                tag, multiple = struct.unpack_from(">QB", payload, 4)
                first, low = (low, tag + 1) if multiple else (tag, low)
                confirmed += done[first : tag + 1].count(0)
                done[first : tag + 1] = b"\x01" * (tag + 1 - first)
        return confirmed

    def consume(self, queue: str) -> Iterator[bytes]:
        """The bodies of a queue's messages, without acknowledgements; never ends."""
        self._send(1, commands.Basic.Consume(queue=queue, no_ack=True))
        parts: list[bytes] = []
        for kind, payload in self._frames:
            if kind == HEADER:
                left, parts = struct.unpack_from(">Q", payload, 4)[0], []
            elif kind == BODY:
                parts.append(payload)
                left -= len(payload)
                if not left:
                    yield b"".join(parts)

    def waiting(self, queue: str) -> int:
        """How many messages are ready for a consumer."""
        answer = self._call(1, commands.Queue.Declare(queue=queue, passive=True))
        return int(struct.unpack_from(">I", answer, 5 + answer[4])[0])

    def drain(self, queue: str) -> list[bytes]:
        """What is in the queue; nobody else may publish or consume."""
        count = self.waiting(queue)
        bodies = self.consume(queue) if count else iter(())
        return [next(bodies) for _ in range(count)]

    def _send(self, channel: int, method: Frame) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _call(self, channel: int, method: Frame) -> bytes:
        self._send(channel, method)
        return self._expect(
            channel, struct.pack(">I", method.index + 1)
        )  # every answer has the number behind its question

    def _expect(self, channel: int, method: bytes) -> bytes:
        for kind, payload in self._frames:
            if kind == METHOD and payload[:4] == method:
                return payload
            raise ConnectionError(f"the broker sent {payload[:200]!r} on channel {channel}, not {method!r}")
        raise ConnectionError("the broker closed the connection")

    def _read(self) -> Iterator[tuple[int, bytes]]:
        buffer = b""
        while received := self._socket.recv(1 << 18):
            buffer += received
            at = 0
            while len(buffer) >= at + 7:
                kind, _, size = struct.unpack_from(">BHI", buffer, at)
                if len(buffer) < at + size + 8:
                    break
                yield kind, buffer[at + 7 : at + 7 + size]
                at += size + 8
            buffer = buffer[at:]
