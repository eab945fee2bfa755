"""Hands returned mail in by SMTP as fast as it is taken, and again until it is: what a crowd of mail servers does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from tests.bouncing import DOMAIN, HOST, bounce, return_path
from tracepost.tokens import Keyring

PAUSE = 0.1  # seconds, before a mail that was not taken is handed in again
PATIENCE = 60.0  # seconds for an answer

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


class NotTaken(Exception):
    """The reply says to try again."""


class Session:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def hand_in(self, mail: Mail) -> None:
        """Return when it is taken; NotTaken, OSError or EOFError otherwise."""
        async with asyncio.timeout(PATIENCE):
            self._writer.write(f"MAIL FROM:<>\r\nRCPT TO:<{mail.to}>\r\nDATA\r\n".encode())
            for expected in (b"250", b"250", b"354"):
                await self._reply(expected)
            self._writer.write(mail.content + b".\r\n")
            await self._reply(b"250")

    async def _reply(self, expected: bytes) -> None:
        while (line := await self._reader.readuntil())[3:4] == b"-":
            pass
        if not line.startswith(expected):
            raise NotTaken(line.decode())

    async def begin(self) -> None:
        """Be greeted and say hello."""
        async with asyncio.timeout(PATIENCE):
            await self._reply(b"220")
            self._writer.write(b"EHLO client.test\r\n")
            await self._reply(b"250")


@asynccontextmanager
async def session(port: int) -> AsyncIterator[Session]:
    """A session that has begun."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        one = Session(reader, writer)
        await one.begin()
        yield one
    finally:
        writer.transport.abort()


async def crowd(port: int, mails: Iterable[Mail], connections: int, taken: Callable[[Mail], None]) -> int:
    """Hand them all in, each until it is taken; answers how often one was not."""
    line, refusals = iter(mails), 0

    async def work() -> None:
        nonlocal refusals
        waiting: Mail | None = next(line, None)
        while waiting:
            try:
                async with session(port) as one:
                    while waiting:
                        await one.hand_in(waiting)
                        taken(waiting)
                        waiting = next(line, None)
            except (NotTaken, OSError, EOFError, TimeoutError):
                refusals += 1
                await asyncio.sleep(PAUSE)

    await asyncio.gather(*(work() for _ in range(connections)))
    return refusals


def some(keyring: Keyring, count: int, unproven_every: int = 0) -> list[Mail]:
    """So many reports."""
    return list(islice(reports(keyring, unproven_every), count))
