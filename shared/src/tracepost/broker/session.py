"""One connection and channel to RabbitMQ, supervised: set up again after every loss, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError, ChannelClosed, ChannelInvalidStateError, ChannelNotFoundEntity
from pamqp.base import Frame

from tracepost import metrics
from tracepost.topology import Queue

log = structlog.get_logger()

HEARTBEAT = 15
CONNECT_TIMEOUT = 10.0
SETUP_TIMEOUT = 5.0  # a broker that has just started, or is short of time, leaves a request unanswered now and then
CLOSE_TIMEOUT = 3.0
LONGEST_PAUSE = 5.0

# How aio-pika says that a channel or connection is gone.
LOST = (AMQPError, OSError, TimeoutError, ChannelInvalidStateError)

# Uses the channel until it is cancelled: that is how it learns that the channel is gone.
Use = Callable[[AbstractChannel], Coroutine[Any, Any, None]]


class TopologyMissing(Exception):
    """An exchange or queue does not exist; its text says the remedy."""


class NoLeader(Exception):
    """A queue is there, but none of its members answers for it; its text says the remedy."""


class Session:
    """Keeps `use` running on an open channel; `fault` says why it is not, or None."""

    def __init__(self, name: str, url: str, use: Use) -> None:
        self.name, self._url, self._use = name, url, use
        self.fault: str | None = "RabbitMQ: not connected yet"
        self.stopping = asyncio.Event()
        for gauge in (metrics.AMQP_CONNECTED, metrics.AMQP_BLOCKED):
            gauge.labels(name)  # so that there is a series, of 0, before anything happens

    async def check(self) -> str | None:
        """A readiness check."""
        return self.fault

    async def supervise(self) -> None:
        """Connect, use, and after any loss connect again, with growing jittered pauses, until `stopping`."""
        failures = 0
        while not self.stopping.is_set():
            try:
                await self._connect_and_use()
            except (Exception, asyncio.CancelledError) as error:
                # On a lost connection aiormq raises RuntimeError, bare Exception and CancelledError as well.
                if _is_being_cancelled():
                    raise
                failures = failures + 1 if self.fault else 1  # a session that stood starts the pauses anew
                self.fault = f"RabbitMQ: {error!s}" if str(error) else f"RabbitMQ: {type(error).__name__}"
                unexpected = not isinstance(error, (*LOST, TopologyMissing, NoLeader))
                log.warning(
                    "session lost", session=self.name, reason=self.fault, failures=failures, exc_info=unexpected
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause(failures)):
                    await self.stopping.wait()

    def up(self) -> None:
        """To be called by `use` when all is set up."""
        self.fault = None
        metrics.AMQP_CONNECTED.labels(self.name).set(1)
        log.info("session up", session=self.name)

    async def _connect_and_use(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            connection = await aio_pika.connect(self._url, heartbeat=HEARTBEAT)
        try:
            self._watch_alarms(connection)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await self._use_until_lost(channel)
        finally:
            metrics.AMQP_CONNECTED.labels(self.name).set(0)
            metrics.AMQP_BLOCKED.labels(self.name).set(0)
            await _close(connection)

    def _watch_alarms(self, connection: aio_pika.abc.AbstractConnection) -> None:
        # aiormq tells nobody of an alarm: its public `ready()` says neither when nor why. So ours go before its two
        # private handlers, on this one object; test_session.py notices when a new version calls them otherwise.
        assert connection.transport
        wire = connection.transport.connection
        for name in ("_Connection__handle_connection_blocked", "_Connection__handle_connection_unblocked"):
            if theirs := getattr(wire, name, None):
                setattr(wire, name, partial(self._alarm, theirs))

    async def _alarm(self, then: Callable[[Frame], Coroutine[Any, Any, None]], frame: Frame) -> None:
        reason = getattr(frame, "reason", None)  # connection.unblocked has none
        self.fault = reason and f"RabbitMQ has blocked this connection: {reason}"
        metrics.AMQP_BLOCKED.labels(self.name).set(reason is not None)
        await then(frame)

    async def _use_until_lost(self, channel: AbstractChannel) -> None:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def lose(reason: object) -> None:
            if not lost.done():
                lost.set_result(str(reason or "the channel was closed"))

        channel.close_callbacks.add(lambda _, reason: lose(reason))
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: lose("the broker cancelled the consumer"))
        using = asyncio.create_task(self._use(channel))
        try:
            either: set[asyncio.Future[Any]] = {using, lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if using.done() and not using.cancelled():
                using.result()
                if self.stopping.is_set():
                    return
            raise ConnectionError(lost.result() if lost.done() else "the channel gave up")
        finally:
            using.cancel()
            await asyncio.gather(using, return_exceptions=True)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _close(connection: aio_pika.abc.AbstractConnection) -> None:
    # A blocked or dead connection never finishes its closing handshake.
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await connection.close()
    except LOST as error:
        log.debug("close failed", reason=repr(error))


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: full jitter under a doubling bound."""
    return random.uniform(0.05, min(LONGEST_PAUSE, 0.2 * 2 ** min(failures, 10)))  # noqa: S311 - no secret


async def check_exchanges(channel: AbstractChannel, names: Iterable[str]) -> None:
    """TopologyMissing names the first exchange that does not exist."""
    for name in names:
        try:
            await channel.get_exchange(name, ensure=True)
        except ChannelNotFoundEntity:
            raise TopologyMissing(f"exchange {name} does not exist: run `tracepost topology apply`") from None


async def check_queue(channel: AbstractChannel, queue: Queue) -> aio_pika.abc.AbstractQueue:
    """The queue; TopologyMissing if it does not exist."""
    try:
        return await channel.get_queue(queue.name, ensure=True)
    except ChannelNotFoundEntity:
        raise TopologyMissing(f"queue {queue.name} does not exist: run `tracepost topology apply`") from None
    except ChannelClosed as error:
        raise TopologyMissing(f"queue {queue.name} cannot be used: {error}") from None


@asynccontextmanager
async def answering(queue: Queue) -> AsyncIterator[None]:
    """A time limit for what only the queue's leader can answer; NoLeader when it is over."""
    try:
        async with asyncio.timeout(SETUP_TIMEOUT):
            yield
    except TimeoutError:
        # A node that stops while it declares a quorum queue leaves one behind that never elects a leader (3.10).
        raise NoLeader(
            f"queue {queue.name} has no leader: start all nodes that hold it; if it was new when its node stopped,"
            " delete it and run `tracepost topology apply`"
        ) from None
