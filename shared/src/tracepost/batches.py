"""Group commit: calls that come while one batch is in flight go together in the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tracepost.broker.session import pause

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batches(Generic[Item, Answer]):
    """Does the work of many callers at once; alone, a caller waits for nothing.

    Who shares a `turn` works in turns: what comes meanwhile makes fewer, larger batches, which cost a database less.
    A batch that fails for a `transient` reason is tried again for as long as it takes: nobody's outcome is lost because
    a database is away. What fails otherwise is done one by one, so that it fails for its own caller alone.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        transient: tuple[type[Exception], ...],
        turn: asyncio.Lock | None = None,
        most: int = 500,
    ) -> None:
        self._work, self._transient, self._turn, self._most = work, transient, turn or asyncio.Lock(), most
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._arrived = asyncio.Event()

    async def do(self, item: Item) -> Answer:
        """The answer for this item."""
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Answer]:
        """The same for who cannot await: what will be the answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._arrived.set()
        return answer

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await self._arrived.wait()
            async with self._turn:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
                if not self._waiting:
                    self._arrived.clear()
                await self._answer([each for each in batch if not each[1].done()])

    async def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._persist([item for item, _ in batch]) if batch else []
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0][1], error)
            else:
                for each in batch:
                    await self._answer([each])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _persist(self, items: Sequence[Item]) -> Sequence[Answer]:
        failures = 0
        while True:
            try:
                return await self._work(items)
            except self._transient as error:
                if isinstance(error, ValueError):  # what asyncpg cannot encode is for it a fault of the connection
                    raise
                failures += 1
                await asyncio.sleep(pause(failures))


def _fail(future: asyncio.Future[Answer], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
