"""One connection to a mail server: what is written, and the answers in the order in which they came; by asyncio."""

from __future__ import annotations

import asyncio
from typing import cast

from sender.routes import Route
from sender.smtp.replies import Answer, Garbage, Parser

MOST_UNREAD = 16  # answers; we never have more than four commands under way


class Broken(Exception):
    """The connection is of no more use; says why."""


class Late(Broken):
    """What was waited for did not come in time."""


class Connection(asyncio.Protocol):
    """Fails for good: with garbage, too late an answer, or its end; whole answers before that are still read."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._answers = self._parser.answers
        self._failure: Broken | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._transport: asyncio.Transport
        self.ip: str | None = None

    @property
    def spoke(self) -> bool:
        """Something came that has not been read."""
        return bool(self._answers) or self._parser.pending

    @property
    def silent(self) -> bool:
        """It stands, and nothing came that has not been read."""
        return self._failure is None and not self.spoke

    def write(self, data: bytes) -> None:
        """Send this as soon as can be."""
        if self._failure is None:
            self._transport.write(data)

    async def answer(self, seconds: float) -> Answer:
        """The next whole answer; raises Broken without one, Late when it is not there within that time."""
        if not self._answers:
            deadline = self._loop.call_later(seconds, self._late, "answer", seconds)
            try:
                while not self._answers:
                    await self._news()
            finally:
                deadline.cancel()
        return self._answers.popleft()

    def answered(self) -> Answer | None:
        """The next whole answer if it is there already."""
        return self._answers.popleft() if self._answers else None

    async def drained(self, seconds: float) -> None:
        """Wait until more may be written, or the server speaks."""
        deadline = self._loop.call_later(seconds, self._late, "way on for the message", seconds)
        try:
            while self._paused and not self.spoke:
                await self._news()
        finally:
            deadline.cancel()

    def abort(self) -> None:
        """Close at once; what is not sent yet never will be."""
        self._fail(Broken("the connection was closed"))

    def _news(self) -> asyncio.Future[None]:
        """Done when something changes; raises Broken when nothing ever will."""
        if self._failure:
            raise self._failure
        self._waiter = self._loop.create_future()
        return self._waiter

    def _late(self, what: str, seconds: float) -> None:
        self._fail(Late(f"there was no {what} within {seconds:g} s"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")  # None when it is gone already
        self.ip = peer[0] if peer else None

    def data_received(self, data: bytes) -> None:
        try:
            if self._failure is None:
                self._parser.feed(data)
        except Garbage as error:
            self._fail(Broken(str(error)))
        if len(self._answers) > MOST_UNREAD:
            self._fail(Broken("the server speaks unasked"))
        self._wake()

    def eof_received(self) -> None:
        self._fail(Broken("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Broken(str(exc) if exc else "the server closed the connection"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _fail(self, failure: Broken) -> None:
        if self._failure is None:
            self._failure = failure
            self._transport.abort()
            self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


async def connected(route: Route, seconds: float) -> Connection:
    """A new connection; raises Broken when there is none to be had."""
    try:
        async with asyncio.timeout(seconds):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, route.host, route.port)
    except TimeoutError:
        raise Late(f"there was no connection within {seconds:g} s") from None
    except (OSError, ValueError) as error:  # a name that cannot be one is a ValueError
        raise Broken(str(error)) from None
    return connection
