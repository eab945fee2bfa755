"""One connection to a mail server: what is written, and the answers in the order in which they came; by asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import cast

from sender.routing.hops import Hop
from sender.smtp.replies import Answer, Garbage, Parser

MOST_UNREAD = 16  # answers; we never have more than four commands under way


class Broken(Exception):
    """The connection is of no more use; says why."""


class Late(Broken):
    """What was waited for did not come in time."""


class Insecure(Broken):
    """TLS could not be agreed on."""


class Connection(asyncio.Protocol):
    """Fails for good: with garbage, too late an answer, or its end; whole answers before that are still read."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._answers = self._parser.answers
        self._failure: Broken | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._awaited = "", 0.0
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
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
            self._begin("answer", seconds)
            while not self._answers:
                await self._news()
            self._deadline = None
        return self._answers.popleft()

    def answered(self) -> Answer | None:
        """The next whole answer if it is there already."""
        return self._answers.popleft() if self._answers else None

    async def drained(self, seconds: float) -> None:
        """Wait until more may be written, or the server speaks."""
        if self._blocked():
            self._begin("way on for the message", seconds)
            while self._blocked():
                await self._news()
            self._deadline = None

    async def secure(self, context: ssl.SSLContext, hostname: str, seconds: float) -> None:
        """TLS from here on; raises Insecure without it, after which the connection is of no more use."""
        loop, plain = self._loop, self._transport
        try:
            secured = await loop.start_tls(
                plain, self, context, server_hostname=hostname, ssl_handshake_timeout=seconds
            )
        except (OSError, ValueError) as error:
            self._fail(_insecure(error))
        else:
            self._transport = cast(asyncio.Transport, secured)
            if self.agreed is None:
                self._fail(_insecure("the server closed the connection"))
        if self._failure:
            raise self._failure

    @property
    def agreed(self) -> ssl.SSLObject | None:
        """The TLS that was agreed on, if any."""
        found = self._transport.get_extra_info("ssl_object")
        return found if found is not None and found.version() else None

    def abort(self) -> None:
        """Close at once; what is not sent yet never will be."""
        self._fail(Broken("the connection was closed"))

    def _blocked(self) -> bool:
        return self._paused and not self.spoke

    def _news(self) -> asyncio.Future[None]:
        """Done when something changes; raises Broken when nothing ever will."""
        if self._failure:
            raise self._failure
        self._waiter = self._loop.create_future()
        return self._waiter

    def _begin(self, what: str, seconds: float) -> None:
        if self._failure:
            raise self._failure
        self._awaited = what, seconds
        self._deadline = due = self._loop.time() + seconds
        # One timer, set anew only when it is due, serves many short waits: one for each took a seventh of all time.
        if self._timer is None or self._timer.when() > due:
            self._set(due)

    def _set(self, due: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._set(self._deadline)
        else:
            self._fail(Late("there was no {} within {:g} s".format(*self._awaited)))

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
            if self._timer:
                self._timer.cancel()
            self._transport.abort()
            self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


async def connected(hop: Hop, seconds: float, context: ssl.SSLContext | None = None) -> Connection:
    """A new connection, with a `context` under TLS; raises Broken when there is none, Insecure when it has no TLS."""
    loop, host, name = asyncio.get_running_loop(), hop.address or hop.host, hop.host if context else None
    try:
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_connection(Connection, host, hop.port, ssl=context, server_hostname=name)
    except TimeoutError:
        raise Late(f"there was no connection within {seconds:g} s") from None
    except ssl.SSLError as error:
        raise _insecure(error) from None
    except (OSError, ValueError) as error:  # a name that cannot be one is a ValueError
        errno = getattr(error, "errno", None) or 0
        raise Broken(os.strerror(errno) if errno > 0 else str(error)) from None
    return connection


def _insecure(reason: Exception | str) -> Insecure:
    """Of what the library says the words, without its own names and places in its source."""
    words = getattr(reason, "verify_message", None) or getattr(reason, "reason", None) or str(reason)
    return Insecure(f"the TLS handshake failed: {words or type(reason).__name__}")
