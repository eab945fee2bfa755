"""Consumes a queue in batches; here alone it is decided whether an element is done, a dead letter, or tried again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

import aiormq.abc
import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage
from pamqp.encode import field_table

from tracepost import crash, metrics
from tracepost.broker.publisher import NotConfirmed, Publisher, QueueFull, Unroutable
from tracepost.broker.session import SETUP_TIMEOUT, Session, answering, check_queue, pause
from tracepost.problems import PROBLEM_TYPE, Invalid, Problem
from tracepost.topology import DEAD, Queue

log = structlog.get_logger()

Value = TypeVar("Value")

MOST_ELEMENTS = 1_000  # for the handler at once, unless a single message has more; larger batches are no faster
MOST_HEADER_BYTES = 64 * 1024
ACK_DELAY = 0.02  # an acknowledgement for each small batch would cost more than the batch


@dataclass(frozen=True, slots=True)
class Refused:
    """An element that can never be processed: its bytes, and why; without a content type it has its message's."""

    body: bytes
    problem: Problem
    content_type: str | None = None


class Incoming(NamedTuple):
    """What is looked at of a message, under aio-pika's names; its own class takes 20 µs more to make."""

    body: bytes
    headers: Mapping[str, Any]
    content_type: str | None
    correlation_id: str | None
    message_id: str | None
    reply_to: str | None
    user_id: str | None
    exchange: str
    routing_key: str
    delivery_tag: int


@dataclass(frozen=True, slots=True)
class Codec(Generic[Value]):
    """Makes elements of a message (Invalid refuses it whole), and bytes of an element, of this content type if any."""

    decode: Callable[[Incoming], Sequence[Value | Refused]]
    encode: Callable[[Value], bytes]
    content_type: str | None = None


# Does the work for all; answers which (by index) can never be processed, and why.
Handle = Callable[[Sequence[Value]], Awaitable[Mapping[int, Problem]]]


class _LeftUndone(Exception):
    """Stopping, and what the batch needs is away: the broker gives the messages to another."""


Item = tuple[Incoming, Value]


class Consumer(Generic[Value]):
    """One queue, one channel, `at_once` batches at a time; what arrives meanwhile is the next batch."""

    def __init__(
        self,
        url: str,
        queue: Queue,
        codec: Codec[Value],
        handle: Handle[Value],
        publisher: Publisher,
        *,
        most: int,
        at_once: int,
        transient: tuple[type[Exception], ...],
    ) -> None:
        self.session = Session(queue.name, url, self._use)
        self._troubles: dict[object, str] = {}
        self._woken = asyncio.Event()
        self._queue, self._codec, self._handle, self._publisher = queue, codec, handle, publisher
        self._most, self._at_once = most, at_once
        self._transient: tuple[type[Exception], ...] = (*transient, NotConfirmed, Unroutable)

    async def check(self) -> str | None:
        """A readiness check: the session stands, and no batch is waiting to be tried again."""
        return await self.session.check() or next(iter(self._troubles.values()), None)

    @property
    def name(self) -> str:
        """The queue's, and the readiness check's."""
        return self._queue.name

    def stop(self) -> None:
        """Finish the batches in hand and end."""
        self.session.stopping.set()
        self._woken.set()

    async def _use(self, channel: AbstractChannel) -> None:
        arrived: deque[DeliveredMessage] = deque()

        async def receive(message: DeliveredMessage) -> None:
            arrived.append(message)
            self._woken.set()

        async with asyncio.timeout(SETUP_TIMEOUT):
            await check_queue(channel, self._queue)
            await channel.set_qos(prefetch_count=(1 + self._at_once) * self._most)
        underlay = await channel.get_underlay_channel()  # aio-pika would make a second task for each message
        async with answering(self._queue):
            consumer = await underlay.basic_consume(self._queue.name, receive)
        self.session.up()
        settled = _Settled(underlay, self._most, self._woken.set)
        workers = [asyncio.create_task(self._work_off(arrived, settled)) for _ in range(self._at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        await settled.acknowledge(now=True)
        with suppress(TimeoutError):  # the connection is closed in any case
            async with asyncio.timeout(SETUP_TIMEOUT):
                await underlay.basic_cancel(consumer.consumer_tag or "")

    async def _work_off(self, arrived: deque[DeliveredMessage], settled: _Settled) -> None:
        with suppress(_LeftUndone):
            while batch := await self._gather(arrived, settled):
                await self._process([_incoming(message) for message in batch])
                settled.add(message.delivery_tag or 0 for message in batch)

    async def _gather(self, arrived: deque[DeliveredMessage], settled: _Settled) -> list[DeliveredMessage]:
        """At least one message and whatever else is there; none when stopping."""
        while not self.session.stopping.is_set():
            self._woken.clear()  # before we look: what comes while we acknowledge wakes us
            await settled.acknowledge()
            if arrived:
                return [arrived.popleft() for _ in range(min(len(arrived), self._most))]
            await self._woken.wait()
        return []

    async def _process(self, batch: Sequence[Incoming]) -> None:
        items: list[Item[Value]] = []
        for message in batch:
            for element in self._elements(message):
                if isinstance(element, Refused):
                    await self._set_apart(message, element)
                else:
                    items.append((message, element))
            if len(items) >= MOST_ELEMENTS:
                await self._persist(self._work, items)
                items = []
        if items:
            await self._persist(self._work, items)

    def _elements(self, message: Incoming) -> Sequence[Value | Refused]:
        try:
            return self._codec.decode(message)
        except Invalid as error:
            return [Refused(message.body, error.problem)]
        except Exception as error:
            log.exception("decoder failed", queue=self._queue.name)
            return [Refused(message.body, _failure(error))]

    async def _work(self, items: Sequence[Item[Value]]) -> None:
        try:
            refused = await self._handle([value for _, value in items])
        except Exception as error:
            # What cannot be encoded, now or ever, is for asyncpg of the same class as a lost connection.
            if isinstance(error, self._transient) and not isinstance(error, ValueError):
                raise
            # A poison element must not take its neighbours along: halving finds it in a few steps.
            log.exception("handler failed", queue=self._queue.name, elements=len(items))
            if len(items) > 1:
                for half in (items[: len(items) // 2], items[len(items) // 2 :]):
                    await self._persist(self._work, half)
                return
            refused = {0: _failure(error)}
        for index, problem in refused.items():
            message, value = items[index]
            await self._set_apart(message, Refused(self._codec.encode(value), problem, self._codec.content_type))
        metrics.CONSUMED.labels(self._queue.name, "done").inc(len(items) - len(refused))

    async def _persist(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Do it, however often it takes: the messages stay unacknowledged meanwhile, and nothing is requeued."""
        attempt = object()
        try:
            for failures in count(1):
                try:
                    return await work(*arguments)
                except self._transient as error:
                    self._troubles[attempt] = f"{str(error) or repr(error)}; tried {failures} times"
                    metrics.HANDLER_RETRIES.labels(self._queue.name).inc()
                    log.warning("trying again", queue=self._queue.name, failures=failures, reason=repr(error))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause(failures)):
                            await self.session.stopping.wait()
                        raise _LeftUndone from error
        finally:
            self._troubles.pop(attempt, None)

    async def _set_apart(self, message: Incoming, refused: Refused) -> None:
        """Publish the dead letter with its reason, confirmed; and tell the publisher, if it said where."""
        problem = refused.problem.document()
        headers = {
            "tracepost-queue": self._queue.name,
            "tracepost-exchange": message.exchange,
            "tracepost-routing-key": message.routing_key,
            "tracepost-code": refused.problem.code,
            "tracepost-problem": problem.decode(),
            "tracepost-time": datetime.now(UTC).isoformat(),
            **(
                {"tracepost-app": message.user_id} if message.user_id and "tracepost-app" not in message.headers else {}
            ),
        }
        content_type = refused.content_type or message.content_type
        dead = Message(refused.body, headers={**_kept(message.headers), **headers}, content_type=content_type)
        # Each for itself: when the second has to wait, the first is not published again.
        await self._persist(self._publisher.send, dead, DEAD, self._queue.name)
        crash.point("broker.dead-letter-published")
        metrics.DEAD_LETTERED.labels(self._queue.name, refused.problem.code).inc()
        metrics.CONSUMED.labels(self._queue.name, "dead").inc()
        log.warning("dead letter", queue=self._queue.name, code=refused.problem.code)
        await self._persist(answer, self._publisher, message.reply_to, message.correlation_id, problem, PROBLEM_TYPE)


def _kept(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    # All headers go in one frame of at most 128 KiB, by default: a longer one would cost the connection.
    return headers if len(field_table(dict(headers))) <= MOST_HEADER_BYTES else {}


def _incoming(message: DeliveredMessage) -> Incoming:
    properties = message.header.properties
    return Incoming(
        message.body,
        properties.headers or {},
        properties.content_type,
        properties.correlation_id,
        properties.message_id,
        properties.reply_to,
        properties.user_id,
        message.exchange or "",
        message.routing_key or "",
        message.delivery_tag or 0,
    )


async def answer(
    publisher: Publisher, reply_to: str | None, correlation_id: str | None, body: bytes, content_type: str
) -> None:
    """Tell whoever published a request what became of it; an answer that nobody takes is no fault."""
    if reply_to:
        with suppress(Unroutable, QueueFull):
            await publisher.send(Message(body, content_type=content_type, correlation_id=correlation_id), "", reply_to)


def _failure(error: Exception) -> Problem:
    return Problem(
        code="handler-failed", title="The service could not process this", status=500, detail=repr(error)[:500]
    )


class _Settled:
    """Acknowledges up to the highest tag below which everything is settled: when that is `many`, or soon."""

    def __init__(self, channel: aiormq.abc.AbstractChannel, many: int, wake: Callable[[], None]) -> None:
        self._channel, self._many, self._wake = channel, many, wake
        self._low, self._told, self._done = 0, 0, set[int]()
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    def add(self, tags: Iterable[int]) -> None:
        """These are settled; calls `wake` when it is time to acknowledge them."""
        self._done.update(tags)
        while self._low + 1 in self._done:
            self._low += 1
            self._done.remove(self._low)
        self._timer = self._timer or asyncio.get_running_loop().call_later(ACK_DELAY, self._delayed)

    def _delayed(self) -> None:
        self._timer, self._late = None, True
        self._wake()

    async def acknowledge(self, *, now: bool = False) -> None:
        """Tell the broker what is settled, if it is time."""
        at_least, self._late = 1 if now or self._late else self._many, False
        if self._low - self._told >= at_least:
            self._told = self._low
            await self._channel.basic_ack(self._told, multiple=True)


@asynccontextmanager
async def consuming(
    url: str,
    queue: Queue,
    codec: Codec[Value],
    handle: Handle[Value],
    publisher: Publisher,
    *,
    most: int = 100,
    at_once: int = 1,
    transient: tuple[type[Exception], ...] = (),
) -> AsyncIterator[Consumer[Value]]:
    """Consume until the block ends, then finish what is in hand: `at_once` batches, each of up to `most` messages."""
    consumer = Consumer(url, queue, codec, handle, publisher, most=most, at_once=at_once, transient=transient)
    async with asyncio.TaskGroup() as group:
        group.create_task(consumer.session.supervise())
        try:
            yield consumer
        finally:
            log.info("finishing", queue=queue.name)
            consumer.stop()
