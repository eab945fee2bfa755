"""Keeps connections for the next transaction: so many per hop and overall, none idle for long; by asyncio."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sender.outcome import Reply, Unreachable
from sender.routing.hops import Hop
from sender.routing.rests import Rests
from sender.smtp.commands import Envelope
from sender.smtp.opening import Opener
from sender.smtp.session import Session, Stale
from sender.smtp.slots import Slots
from sender.smtp.values import Failed, Limits
from tracepost import metrics


class Pool:
    """At most `overall` connections are in use or idle; those that are just being closed come on top of that."""

    def __init__(self, opener: Opener, limits: Limits, rests: Rests) -> None:
        self._opener, self._limits, self._rests = opener, limits, rests
        self._slots = Slots(limits.connections, limits.overall)
        self._idle: dict[Hop, list[Session]] = {}
        self._since: OrderedDict[Session, float] = OrderedDict()  # the idle ones, the longest idle first
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def transaction(self, hops: Sequence[Hop]) -> Transaction:
        """To be entered: waits for a slot, then for a connection, with the first hop that gives one.

        Raises Failed when there is none to be had.
        """
        return Transaction(self, hops)

    async def take(self, hops: Sequence[Hop]) -> Session:
        """An idle connection or a new one, with its slot."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        failures = []
        for hop in self._rests.order(hops, asyncio.get_running_loop().time()):
            try:
                return await self._taken(hop)
            except Failed as failed:
                failures.append(failed)
        raise _kindest(failures)

    async def _taken(self, hop: Hop) -> Session:
        await self._slots.acquire(hop)
        try:
            return self._reused(hop) or await self.fresh(hop)
        except BaseException:
            self._slots.release(hop)
            raise

    async def fresh(self, hop: Hop) -> Session:
        """A new connection, on a slot that is held already."""
        in_use = self._limits.overall - self._slots.free
        while in_use + len(self._since) > self._limits.overall:
            self._retire(next(iter(self._since)))
        try:
            session = await self._opener.open(hop)
        except Failed as failed:
            if isinstance(failed.result, Unreachable):
                self._rests.away(hop, asyncio.get_running_loop().time())
                metrics.SERVERS_RESTING.set(len(self._rests))
            raise
        if self._rests:
            self._rests.well(hop)
            metrics.SERVERS_RESTING.set(len(self._rests))
        return session

    def put_back(self, session: Session) -> None:
        """The transaction is over: keep the connection, or close it when it is of no more use; its slot is free."""
        if self._closed or not session.usable:
            session.abort()
            self._slots.release(session.hop)
        elif session.transactions >= self._limits.messages:
            self._slots.leave()
            self._take_leave(session)
        else:
            self._rest(session)
            self._slots.release(session.hop)

    async def close(self) -> None:
        """Take leave of every idle server; bounded by the time limit for QUIT."""
        self._closed = True
        if self._sweeper:
            self._sweeper.cancel()
        for session in [*self._since]:
            self._retire(session)
        await asyncio.gather(*self._closing)

    def _reused(self, hop: Hop) -> Session | None:
        """The connection that was used last; one that died or spoke meanwhile is closed."""
        while idle := self._idle.get(hop):
            session = self._removed(idle[-1])
            if session.usable:
                return session
            session.abort()
        return None

    def _rest(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        self._idle.setdefault(session.hop, []).append(session)
        self._since[session] = loop.time()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._limits.idle, self._sweep)

    def _removed(self, session: Session) -> Session:
        del self._since[session]
        idle = self._idle[session.hop]
        idle.remove(session)
        if not idle:
            del self._idle[session.hop]
        return session

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while self._since and next(iter(self._since.values())) + self._limits.idle <= loop.time():
            self._retire(next(iter(self._since)))
        oldest = next(iter(self._since.values()), None)
        self._sweeper = None if oldest is None else loop.call_at(oldest + self._limits.idle, self._sweep)

    def _retire(self, session: Session) -> None:
        self._slots.hold(session.hop)
        self._take_leave(self._removed(session))

    def _take_leave(self, session: Session) -> None:
        """Close in the background; until then the connection counts as one of its hop's."""
        task = asyncio.create_task(self._leave(session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _leave(self, session: Session) -> None:
        try:
            await session.quit()
        finally:
            self._slots.drop(session.hop)


def _kindest(failures: Sequence[Failed]) -> Failed:
    """Of what several hops have said: a refusal for good counts only where nobody may take the message later."""
    later = (each for each in reversed(failures) if not (isinstance(each.result, Reply) and each.result.code >= 500))
    return next(later, failures[-1])


class Transaction:
    """A mail transaction, to be entered; each step raises Failed with what came of it; left early, it sends nothing."""

    def __init__(self, pool: Pool, hops: Sequence[Hop]) -> None:
        self._pool, self._hops = pool, hops
        self._session: Session

    async def __aenter__(self) -> Transaction:
        self._session = await self._pool.take(self._hops)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.put_back(self._session)

    async def envelope(self, envelope: Envelope) -> None:
        """Let the server agree to sender, recipient and DATA; one that had closed the connection is asked once more."""
        try:
            await self._session.envelope(envelope)
        except Stale:
            self._session.abort()
            self._session = await self._pool.fresh(self._session.hop)
            await self._session.envelope(envelope)

    async def message(self, content: bytes, deadline: float) -> Reply:
        """The message, and the server's consent; from here on a lost session leaves the outcome unknown."""
        return await self._session.message(content, deadline)


@asynccontextmanager
async def pooling(opener: Opener, limits: Limits, rests: Rests) -> AsyncIterator[Pool]:
    """A pool; when the block ends the idle connections are closed."""
    pool = Pool(opener, limits, rests)
    try:
        yield pool
    finally:
        await pool.close()
