"""Consumes a queue in batches; here alone it is decided whether an element is done, a dead letter, or tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from tracepost import crash, metrics
from tracepost.broker.publisher import NotConfirmed, Publisher, Unroutable
from tracepost.broker.session import Session, check_queue, pause
from tracepost.problems import PROBLEM_TYPE, Invalid, Problem
from tracepost.topology import DEAD, Queue

log = structlog.get_logger()

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Refused:
    """An element that can never be processed: its bytes, and why."""

    body: bytes
    problem: Problem


@dataclass(frozen=True, slots=True)
class Codec(Generic[Value]):
    """Makes elements of a message (Invalid refuses it whole), and bytes of an element."""

    decode: Callable[[AbstractIncomingMessage], Sequence[Value | Refused]]
    encode: Callable[[Value], bytes]


# Does the work for all; answers which (by index) can never be processed, and why.
Handle = Callable[[Sequence[Value]], Awaitable[Mapping[int, Problem]]]


class _LeftUndone(Exception):
    """Stopping, and what the batch needs is away: the broker gives the messages to another."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[Value]):
    message: AbstractIncomingMessage
    value: Value


class Consumer(Generic[Value]):
    """One queue, one channel, one batch at a time; what arrives meanwhile is the next batch."""

    def __init__(
        self,
        url: str,
        queue: Queue,
        codec: Codec[Value],
        handle: Handle[Value],
        publisher: Publisher,
        *,
        most: int,
        transient: tuple[type[Exception], ...],
    ) -> None:
        self.session = Session(queue.name, url, self._use)
        self._queue, self._codec, self._handle, self._publisher, self._most = queue, codec, handle, publisher, most
        self._transient: tuple[type[Exception], ...] = (*transient, NotConfirmed, Unroutable)

    async def _use(self, channel: AbstractChannel) -> None:
        source = await check_queue(channel, self._queue)
        await channel.set_qos(prefetch_count=2 * self._most)
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

        async def receive(message: AbstractIncomingMessage) -> None:
            arrived.put_nowait(message)

        tag = await source.consume(receive)
        self.session.up()
        settled = _Settled(channel)
        with suppress(_LeftUndone):
            while batch := await self._gather(arrived):
                await self._process(batch)
                await settled.add(batch)
        await source.cancel(tag)

    async def _gather(self, arrived: asyncio.Queue[AbstractIncomingMessage]) -> list[AbstractIncomingMessage]:
        """At least one message and whatever else is there; none when stopping."""
        first, stop = asyncio.ensure_future(arrived.get()), asyncio.ensure_future(self.session.stopping.wait())
        try:
            await asyncio.wait({first, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                return []
            return [first.result(), *(arrived.get_nowait() for _ in range(min(arrived.qsize(), self._most - 1)))]
        finally:
            first.cancel()
            stop.cancel()

    async def _process(self, batch: Sequence[AbstractIncomingMessage]) -> None:
        items: list[_Item[Value]] = []
        for message in batch:
            for element in self._elements(message):
                if isinstance(element, Refused):
                    await self._persist(self._set_apart, message, element)
                else:
                    items.append(_Item(message, element))
        if items:
            await self._persist(self._work, items)

    def _elements(self, message: AbstractIncomingMessage) -> Sequence[Value | Refused]:
        try:
            return self._codec.decode(message)
        except Invalid as error:
            return [Refused(message.body, error.problem)]
        except Exception as error:
            log.exception("decoder failed", queue=self._queue.name)
            return [Refused(message.body, _failure(error))]

    async def _work(self, items: Sequence[_Item[Value]]) -> None:
        try:
            refused = await self._handle([item.value for item in items])
        except self._transient:
            raise
        except Exception as error:
            # A poison element must not take its neighbours along: alone, each shows what it is.
            log.exception("handler failed", queue=self._queue.name, elements=len(items))
            if len(items) > 1:
                for item in items:
                    await self._persist(self._work, [item])
                return
            refused = {0: _failure(error)}
        for index, problem in refused.items():
            await self._set_apart(items[index].message, Refused(self._codec.encode(items[index].value), problem))
        metrics.CONSUMED.labels(self._queue.name, "done").inc(len(items) - len(refused))

    async def _persist(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Do it, however often it takes: the messages stay unacknowledged meanwhile, and nothing is requeued."""
        failures = 0
        while True:
            try:
                return await work(*arguments)
            except self._transient as error:
                failures += 1
                metrics.HANDLER_RETRIES.labels(self._queue.name).inc()
                log.warning("trying again", queue=self._queue.name, failures=failures, reason=repr(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.session.stopping.wait(), pause(failures))
                    raise _LeftUndone from error

    async def _set_apart(self, message: AbstractIncomingMessage, refused: Refused) -> None:
        """Publish the dead letter with its reason, confirmed; and tell the publisher, if it said where."""
        problem = refused.problem.document()
        headers = {
            "tracepost-queue": self._queue.name,
            "tracepost-exchange": message.exchange or "",
            "tracepost-routing-key": message.routing_key or "",
            "tracepost-code": refused.problem.code,
            "tracepost-problem": problem.decode(),
            "tracepost-time": datetime.now(UTC).isoformat(),
            **(
                {"tracepost-app": message.user_id} if message.user_id and "tracepost-app" not in message.headers else {}
            ),
        }
        dead = Message(refused.body, headers={**message.headers, **headers}, content_type=message.content_type)
        await self._publisher.send(dead, DEAD, self._queue.name)
        crash.point("broker.dead-letter-published")
        metrics.DEAD_LETTERED.labels(self._queue.name, refused.problem.code).inc()
        metrics.CONSUMED.labels(self._queue.name, "dead").inc()
        log.warning("dead letter", queue=self._queue.name, code=refused.problem.code)
        await answer(self._publisher, message.reply_to, message.correlation_id, problem, PROBLEM_TYPE)


async def answer(
    publisher: Publisher, reply_to: str | None, correlation_id: str | None, body: bytes, content_type: str
) -> None:
    """Tell whoever published a request what became of it; an answer nobody listens for is no fault."""
    if reply_to:
        with suppress(Unroutable):
            await publisher.send(Message(body, content_type=content_type, correlation_id=correlation_id), "", reply_to)


def _failure(error: Exception) -> Problem:
    return Problem(
        code="handler-failed", title="The service could not process this", status=500, detail=repr(error)[:500]
    )


class _Settled:
    """Acknowledges up to the highest tag below which everything is settled."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel, self._low, self._done = channel, 0, set[int]()

    async def add(self, batch: Sequence[AbstractIncomingMessage]) -> None:
        self._done.update(message.delivery_tag or 0 for message in batch)
        before = self._low
        while self._low + 1 in self._done:
            self._low += 1
            self._done.remove(self._low)
        if self._low > before:
            underlay = await self._channel.get_underlay_channel()
            await underlay.basic_ack(self._low, multiple=True)


@asynccontextmanager
async def consuming(
    url: str,
    queue: Queue,
    codec: Codec[Value],
    handle: Handle[Value],
    publisher: Publisher,
    *,
    most: int = 100,
    transient: tuple[type[Exception], ...] = (),
) -> AsyncIterator[Consumer[Value]]:
    """Consume until the block ends, then finish the batch in hand; `most` messages make a batch."""
    consumer = Consumer(url, queue, codec, handle, publisher, most=most, transient=transient)
    async with asyncio.TaskGroup() as group:
        group.create_task(consumer.session.supervise())
        try:
            yield consumer
        finally:
            log.info("finishing", queue=queue.name)
            consumer.session.stopping.set()
