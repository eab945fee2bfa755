"""Group commit: whatever is published while confirms are in flight travels together in the next AMQP message."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError, PublishError

from tracepost import events, metrics
from tracepost.broker.session import LOST, SETUP_TIMEOUT, Session, check_exchanges
from tracepost.events import AnyEvent
from tracepost.runner import background
from tracepost.topology import EVENTS, EXCHANGES, STATUS

log = structlog.get_logger()

MOST_EVENTS = 500  # in one AMQP message
MOST_BYTES = 512 * 1024  # in one AMQP message; a single larger element still travels, alone
MOST_IN_FLIGHT = 4
MOST_WAITING_BYTES = 32 * 1024 * 1024


class NotConfirmed(Exception):
    """The broker did not confirm within the time limit; it may have the message all the same."""


class QueueFull(NotConfirmed):
    """The broker refused the message: a queue that it is for takes no more."""


class Unroutable(Exception):
    """The broker confirmed that no queue takes the message: the topology is not as it should be."""


Route = tuple[str, str]  # exchange, routing key
# Is called once: with None when the broker has confirmed, else with what went wrong.
Told = Callable[[Exception | None], None]


@dataclass(slots=True, eq=False)
class _Entry:
    content: bytes | Message  # an encoded event, or a message that travels as it is
    size: int
    deadline: float
    told: Told
    settled: bool = False


class Publisher:
    """Publishes over one supervised session of its own; every caller awaits the confirm of its own element."""

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self.session = Session("publisher", url, self._use)
        self._timeout = timeout
        self._waiting: dict[Route, deque[_Entry]] = {}
        self._in_flight: list[Sequence[_Entry]] = []
        self.waiting_bytes = 0
        self._turn, self._freed, self._arrived = asyncio.Lock(), asyncio.Event(), asyncio.Event()

    async def publish(self, event: AnyEvent, exchange: str = EVENTS, key: str | None = None) -> None:
        """Return when the broker has confirmed the event; NotConfirmed or Unroutable if it has not."""
        await self.publish_encoded(events.encode(event), key or event.name, exchange=exchange)

    async def publish_encoded(
        self, encoded: bytes, key: str, *, exchange: str = EVENTS, timeout: float | None = None
    ) -> None:
        """The same for an event that is encoded already, with a time limit of its own."""
        await self._deliver((exchange, key), encoded, timeout)

    async def send(self, message: Message, exchange: str, key: str) -> None:
        """The same for a message that travels as it is."""
        await self._deliver((exchange, key), message)

    def submit(
        self, encoded: bytes, key: str, told: Told, *, exchange: str = EVENTS, timeout: float | None = None
    ) -> None:
        """Publish an encoded event without a coroutine for it; `told` may be called before this returns.

        It gets NotConfirmed after `timeout` seconds, the publisher's own without one, and at once if there is no room.
        """
        entry = self._entry(encoded, told, time.monotonic() + (timeout or self._timeout))
        if self._turn.locked() or self.waiting_bytes > MOST_WAITING_BYTES:
            self._settle((entry,), NotConfirmed(self._reason()))
        else:
            self._line_up((exchange, key), entry)

    async def run(self) -> None:
        """Keep the session and the callers' time limits; runs for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.session.supervise())
                group.create_task(self._expire())
        finally:
            for entries in (*self._waiting.values(), *self._in_flight):
                self._settle(entries, NotConfirmed("the publisher was stopped"))

    async def _deliver(self, route: Route, content: bytes | Message, timeout: float | None = None) -> None:
        size, deadline = _size(content), time.monotonic() + (timeout or self._timeout)
        # Who comes later does not overtake who waits for room.
        if self._turn.locked() or self.waiting_bytes + size > MOST_WAITING_BYTES:
            await self._room(size)
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = self._entry(content, partial(_resolve, confirmed), deadline)
        self._line_up(route, entry)
        try:
            await confirmed
        finally:
            self._settle((entry,), None)  # nobody waits for it any more

    def _entry(self, content: bytes | Message, told: Told, deadline: float) -> _Entry:
        entry = _Entry(content, _size(content), deadline, told)
        self.waiting_bytes += entry.size
        return entry

    def _line_up(self, route: Route, entry: _Entry) -> None:
        line = self._waiting.get(route)
        if line is None:
            line = self._waiting[route] = deque()
        line.append(entry)
        self._arrived.set()

    def _settle(self, entries: Iterable[_Entry], error: Exception | None) -> None:
        for entry in entries:
            if not entry.settled:
                entry.settled = True
                self.waiting_bytes -= entry.size
                entry.told(error)
        self._freed.set()

    async def _room(self, size: int) -> None:
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                while self.waiting_bytes and self.waiting_bytes + size > MOST_WAITING_BYTES:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise NotConfirmed(self._reason()) from None

    async def _use(self, channel: AbstractChannel) -> None:
        async with asyncio.timeout(SETUP_TIMEOUT):
            await check_exchanges(channel, EXCHANGES)
        self.session.up()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(MOST_IN_FLIGHT):
                    group.create_task(self._send_batches(channel))
        except* LOST as errors:
            raise ConnectionError(str(errors.exceptions[0])) from errors

    async def _send_batches(self, channel: AbstractChannel) -> None:
        while True:
            await self._arrived.wait()
            if taken := self._take():
                await self._send(channel, *taken)
            else:
                self._arrived.clear()

    def _take(self) -> tuple[Route, list[_Entry]] | None:
        """The next batch of one route; the route goes to the back of the line."""
        while self._waiting:
            route, line = next(iter(self._waiting.items()))
            del self._waiting[route]
            batch = _cut(line)
            if line:
                self._waiting[route] = line
            if batch:
                return route, batch
        return None

    async def _send(self, channel: AbstractChannel, route: Route, batch: list[_Entry]) -> None:
        started = time.monotonic()
        result = "lost"
        self._in_flight.append(batch)
        try:
            exchange = await channel.get_exchange(route[0], ensure=False)
            # As long as one of the callers waits: to send it again meanwhile would only be a load on a slow broker.
            left = max(entry.deadline for entry in batch) - started
            # Who wants to know statuses brings a queue: to be given back what nobody wants costs another publish.
            mandatory = route[0] != STATUS
            await exchange.publish(_message(batch), route[1], mandatory=mandatory, timeout=max(0.05, left))
            result = "confirmed"
            self._settle(batch, None)
        except PublishError:
            result = "unroutable"
            self._settle(
                batch, Unroutable(f"no queue is bound to {route[0]} for {route[1]}: run `tracepost topology apply`")
            )
        except DeliveryError:
            result = "refused"
            self._settle(batch, QueueFull(f"the broker refused a message to {route[0]}: a queue is full"))
        except TimeoutError:
            result = "late"
            self._settle(batch, NotConfirmed(self._reason()))
        except (TypeError, ValueError) as error:  # cannot be encoded, now or ever
            result = "invalid"
            self._settle(batch, error)
        finally:
            self._in_flight.remove(batch)
            if result == "lost":  # perhaps with its channel: the next one takes it again
                self._waiting.setdefault(route, deque()).extendleft(reversed(batch))
                self._arrived.set()
            metrics.PUBLISHED.labels(route[0] or "reply", route[1] if route[0] else "", result).inc(len(batch))
            metrics.CONFIRM_SECONDS.observe(time.monotonic() - started)

    async def _expire(self) -> None:
        """Tell the callers whose time limit passes, and forget those who have gone."""
        while True:
            await asyncio.sleep(min(1.0, self._timeout / 10))
            now = time.monotonic()
            for entries in (*self._waiting.values(), *self._in_flight):
                late = [entry for entry in entries if entry.deadline <= now]
                self._settle(late, NotConfirmed(self._reason()))
            for route, line in self._waiting.items():
                self._waiting[route] = deque(entry for entry in line if not entry.settled)

    def _reason(self) -> str:
        return self.session.fault or f"RabbitMQ did not confirm within {self._timeout:g} s"


def _cut(line: deque[_Entry]) -> list[_Entry]:
    """Take from the line what fits into one AMQP message, leaving out what nobody waits for any more."""
    batch: list[_Entry] = []
    size = 0
    while line and len(batch) < MOST_EVENTS and size < MOST_BYTES:
        entry = line.popleft()
        if entry.settled:
            continue
        as_it_is = not isinstance(entry.content, bytes)
        if as_it_is and batch:
            line.appendleft(entry)
            break
        batch.append(entry)
        size += entry.size
        if as_it_is:
            break
    return batch


def _message(batch: list[_Entry]) -> Message:
    bodies = [entry.content for entry in batch if isinstance(entry.content, bytes)]
    if not bodies:
        assert isinstance(batch[0].content, Message)
        message = batch[0].content
    elif len(bodies) == 1:
        message = Message(bodies[0], content_type=events.EVENT_TYPE)
    else:
        message = Message(events.join(bodies), content_type=events.BATCH_TYPE)
    message.delivery_mode = DeliveryMode.PERSISTENT
    # aiormq finds a returned message by this id: no two in flight may share it.
    message.message_id = message.message_id or str(uuid4())
    return message


def _size(content: bytes | Message) -> int:
    return 200 + len(content if isinstance(content, bytes) else content.body)


def _resolve(confirmed: asyncio.Future[None], error: Exception | None) -> None:
    if not confirmed.done():
        if error:
            confirmed.set_exception(error)
        else:
            confirmed.set_result(None)


@asynccontextmanager
async def publishing(url: str, *, timeout: float = 30.0) -> AsyncIterator[Publisher]:
    """A publisher that runs until the block ends."""
    publisher = Publisher(url, timeout=timeout)
    async with background(publisher.run()):
        yield publisher
