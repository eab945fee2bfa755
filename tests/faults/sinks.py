"""Mail servers that take every mail, that put every mail off, and that never say a word."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiosmtpd.smtp import SMTP, Envelope, Session

from local_stack.stack import HOST


@dataclass
class Sink:
    """Counts the copies of each recipient, and gives every DATA the same answer."""

    answer: str = "250 2.0.0 Ok"
    copies: Counter[str] = field(default_factory=Counter)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """aiosmtpd's hook."""
        self.copies.update(envelope.rcpt_tos)
        return self.answer


@asynccontextmanager
async def sink(answer: str = "250 2.0.0 Ok") -> AsyncIterator[tuple[Sink, int]]:
    """A mail server and its port."""
    counting = Sink(answer)
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(counting, hostname="sink"), HOST, 0)
    async with server:
        yield counting, server.sockets[0].getsockname()[1]


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """The port of a server that takes connections and says nothing."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in held:
            writer.close()
