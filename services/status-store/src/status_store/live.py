"""One reader of the feed for all who follow it live in this process: it fans out, and cuts who is too slow."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from status_store.cursors import Cursor, Item, Page
from tracepost import metrics, postgres

log = structlog.get_logger()

POLL_SECONDS = 0.1
AT_ONCE = 200  # changes that are read, and sent, together
MOST_BYTES = 512 * 1024  # that wait for one client; the same bytes wait for all

WAITS = postgres.TRANSIENT


def told(items: Sequence[Item]) -> bytes:
    """Changes as events of a stream; each is JSON, which has no line breaks."""
    return "".join([f"event: change\nid: {each.cursor}\ndata: {each.text}\n\n" for each in items]).encode()


class Follower:
    """Who follows the changes of one app, or of all, from a place on."""

    def __init__(self, app: str | None, after: Cursor, cut: Callable[[], Any]) -> None:
        self.app, self._after, self._cut = app, after, cut
        self.arrived = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0

    def offer(self, chunk: bytes, end: Cursor) -> None:
        """Keep it until it is taken; who leaves too much waiting is cut, and may come back for it."""
        if end <= self._after:
            return
        self._bytes += len(chunk)
        if self._waiting and self._bytes > MOST_BYTES:
            metrics.STREAMS_CUT.inc()
            self._cut()
            return
        self._waiting.append(chunk)
        self.arrived.set()

    def take(self) -> bytes:
        """All that waits."""
        self.arrived.clear()
        chunks = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return chunks


class Live:
    """Reads the feed as long as anybody is interested."""

    def __init__(self, now: Callable[[], Awaitable[Cursor]], after: Callable[[Cursor, int], Awaitable[Page]]) -> None:
        self._now, self._read = now, after
        self._interested, self._interest = 0, asyncio.Event()
        self._followers: set[Follower] = set()
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.moved = asyncio.Event()  # a new one after each move
        self.position: Cursor | None = None
        self.ended = False

    async def run(self) -> None:
        """Read for ever."""
        while True:
            if not self._interested:
                self.position = None
                self._interest.clear()
                await self._interest.wait()
            more = False
            try:
                more = await self._step()
            except WAITS as error:
                log.warning("the live feed waits", reason=repr(error))
            if not more:
                await asyncio.sleep(POLL_SECONDS)

    async def end(self, *_: object) -> None:
        """Let all streams come to their end, for the service is to stop."""
        self.ended = True
        self._move()
        for each in self._followers:
            each.arrived.set()
        self._wake()

    @contextmanager
    def interest(self) -> Iterator[None]:
        """The feed is read while the block runs."""
        self._interested += 1
        self._interest.set()
        metrics.STREAMS.inc()
        try:
            yield
        finally:
            self._interested -= 1
            metrics.STREAMS.dec()

    def follow(self, app: str | None, after: Cursor, cut: Callable[[], Any]) -> Follower | None:
        """Who has read the feed up to there; None: it has moved on already, or is not read yet: read on first."""
        if not self.ended and (self.position is None or after < self.position):
            return None
        follower = Follower(app, after, cut)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """The end of following."""
        self._followers.discard(follower)

    @contextmanager
    def watching(self, message_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the message changes, and once when no change can be missed any more."""
        watcher = asyncio.Event()
        if self.position is not None:
            watcher.set()
        with self.interest():
            self._watchers[message_id].add(watcher)
            try:
                yield watcher
            finally:
                self._watchers[message_id].discard(watcher)
                if not self._watchers[message_id]:
                    del self._watchers[message_id]

    def _wake(self) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.set()

    async def _step(self) -> bool:
        if self.position is None:
            self.position = await self._now()
            self._wake()
        page = await self._read(self.position, AT_ONCE)
        self.position = page.end
        if page.items:
            self._tell(page)
            self._move()
        return page.more

    def _tell(self, page: Page) -> None:
        for each in page.items:
            for watcher in self._watchers.get(each.message_id, ()):
                watcher.set()
        chunks: dict[str | None, bytes] = {}
        for follower in [*self._followers]:
            if follower.app not in chunks:
                chunks[follower.app] = told([e for e in page.items if follower.app in (None, e.app)])
            if chunk := chunks[follower.app]:
                follower.offer(chunk, page.end)

    def _move(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()


async def happens(event: asyncio.Event, within: float) -> bool:
    """Whether it is set before so many seconds have passed."""
    # Not wait_for: on Python 3.11 it loses a cancellation that comes together with the event.
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()
