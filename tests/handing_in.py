"""Hands returned mail in by SMTP as fast as it is taken, and again until it is: what a crowd of mail servers does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from tests.bouncing import DOMAIN, HOST, bounce, return_path
from tracepost.tokens import Keyring

PAUSE = 0.1  # seconds, before a mail that was not taken is handed in again
PATIENCE = 60.0  # seconds for an answer
_END = b"nothing: it is over"

_PATH, _RECIPIENT = "b+the-return-path@bounces.example.test", "the-recipient@example.test"


class Mail(NamedTuple):
    """A report, to whom it is handed in, and the message that it proves to be about, if any."""

    content: bytes
    to: str
    message_id: UUID | None


def reports(keyring: Keyring, unproven_every: int = 0) -> Iterator[Mail]:
    """Bounces without an end, no two alike; each so-manieth comes to a fixed mailbox and proves nothing."""
    template = bounce(_PATH, _RECIPIENT)
    number = 0
    while True:
        number += 1
        recipient, message_id = f"r{number}@example.test", uuid7()
        is_proven = not unproven_every or number % unproven_every
        path = return_path(message_id, recipient, keyring) if is_proven else f"abuse@{DOMAIN}"
        content = template.replace(_PATH.encode(), path.encode()).replace(_RECIPIENT.encode(), recipient.encode())
        yield Mail(content, path, message_id if is_proven else None)


class Session(asyncio.Protocol):
    """One connection, over which one mail after the other is handed in.

    It reads replies as they come, without streams and tasks: a load must cost less than what it loads.
    """

    def __init__(self, first: Mail, further: Iterator[Mail], taken: Callable[[Mail], None]) -> None:
        self.in_hand: Mail | None = first
        self._further, self._taken = further, taken
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the greeting."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._end = self._loop.call_later(PATIENCE, transport.abort)
        self._dialogue = self._hand_in()
        self._expected = next(self._dialogue)

    def data_received(self, data: bytes) -> None:
        """Go on with each reply, or end with one that was not expected."""
        self._end.cancel()
        *lines, self._read = (self._read + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":  # more of it follows
                continue
            self._expected = next(self._dialogue, _END) if line.startswith(self._expected) else _END
            if self._expected is _END:
                self._transport.abort()
                return
        self._end = self._loop.call_later(PATIENCE, self._transport.abort)

    def connection_lost(self, _: Exception | None) -> None:
        """What is in hand now was not taken."""
        self._end.cancel()
        self._dialogue.close()
        if not self.ended.done():
            self.ended.set_result(None)

    def _hand_in(self) -> Generator[bytes, None, None]:
        """Yields how the next reply must begin."""
        yield b"220"
        self._transport.write(b"EHLO client.test\r\n")
        yield b"250"
        while self.in_hand:
            self._transport.write(b"MAIL FROM:<>\r\nRCPT TO:<%b>\r\nDATA\r\n" % self.in_hand.to.encode())
            yield b"250"
            yield b"250"
            yield b"354"
            self._transport.write(self.in_hand.content + b".\r\n")
            yield b"250"
            self._taken(self.in_hand)
            self.in_hand = next(self._further, None)


async def crowd(port: int, mails: Iterable[Mail], connections: int, taken: Callable[[Mail], None]) -> int:
    """Hand them all in, each until it is taken; answers how often one was not."""
    line, refusals = iter(mails), 0

    async def work() -> None:
        nonlocal refusals
        waiting = next(line, None)
        while waiting:
            if waiting := await _session(port, waiting, line, taken):
                refusals += 1
                await asyncio.sleep(PAUSE)

    await asyncio.gather(*(work() for _ in range(connections)))
    return refusals


async def _session(port: int, first: Mail, further: Iterator[Mail], taken: Callable[[Mail], None]) -> Mail | None:
    """Hand in as long as they are taken; answers the one that was not."""
    one = Session(first, further, taken)
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: one, HOST, port)
    except OSError:
        return first
    try:
        await one.ended
    finally:
        transport.abort()
    return one.in_hand


def some(keyring: Keyring, count: int, unproven_every: int = 0) -> list[Mail]:
    """So many reports."""
    return list(islice(reports(keyring, unproven_every), count))
