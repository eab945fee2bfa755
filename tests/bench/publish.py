"""Publishing: many events at once, and one alone, each confirmed, into a quorum queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import aio_pika
from aio_pika.abc import AbstractExchange
from uuid_utils.compat import uuid7

from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong
from tests.bench.raw_amqp import Raw, encoded
from tracepost import events, topology
from tracepost.broker import publishing
from tracepost.events import AnyEvent, Delivered, event

IN_FLIGHT = 5_000
QUEUE = topology.STATUS_STORE_EVENTS.name

Publish = Callable[[AnyEvent], Awaitable[object]]


def sample(count: int) -> list[AnyEvent]:
    """Events of about 300 bytes."""
    data = Delivered(smtp_code=250, response="2.0.0 OK", origin="smtp")
    return [event("sender", uuid7(), 1, data) for _ in range(count)]


def ids(body: bytes) -> list[str]:
    """The ids of the events in a body."""
    return [part[:36].decode() for part in body.split(b'{"specversion":"1.0","id":"')[1:]]


async def check(url: str, sent: Sequence[AnyEvent]) -> None:
    """Everything has arrived, once."""

    def found() -> list[str]:
        with Raw(url) as raw:
            return [each for body in raw.drain(QUEUE) for each in ids(body)]

    arrived = await asyncio.to_thread(found)
    if sorted(arrived) != sorted(str(each.id) for each in sent):
        raise Wrong(f"{len(sent)} events were sent, {len(arrived)} arrived, {len(set(arrived))} of them different")


async def together(publish: Publish, at_once: int, sent: Sequence[AnyEvent]) -> int:
    """Keep so many publishes in flight until all is confirmed."""
    left = iter(sent)

    async def one_after_the_other() -> None:
        for each in left:
            await publish(each)

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return len(sent)


@asynccontextmanager
async def ours(count: int, at_once: int, url: str) -> AsyncIterator[Work]:
    """Our publisher."""
    sent = sample(count)
    async with publishing(url) as publisher:
        await publisher.publish(sent[0])
        yield partial(together, publisher.publish, at_once, sent[1:])
    await check(url, sent)


@asynccontextmanager
async def plain(count: int, at_once: int, url: str) -> AsyncIterator[Work]:
    """aio-pika: each event a message."""
    sent = sample(count)
    async with (
        await aio_pika.connect(url) as connection,
        connection.channel(on_return_raises=True) as channel,
    ):
        exchange = await channel.get_exchange(topology.EVENTS)
        await publish_plainly(exchange, sent[0])
        yield partial(together, partial(publish_plainly, exchange), at_once, sent[1:])
    await check(url, sent)


async def publish_plainly(exchange: AbstractExchange, each: AnyEvent) -> None:
    body = events.encode(each)
    message = aio_pika.Message(body, content_type=events.EVENT_TYPE, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await exchange.publish(message, each.name, mandatory=True)


@asynccontextmanager
async def frames(count: int, url: str) -> AsyncIterator[Work]:
    """Frames that are encoded beforehand, in batches: what the broker takes."""
    sent = sample(count)
    messages = [encoded(topology.EVENTS, each.name, events.encode(each), events.EVENT_TYPE) for each in sent]
    with Raw(url) as raw:
        yield partial(asyncio.to_thread, raw.publish, messages)
    await check(url, sent)


_contenders: dict[str, Contender] = {
    "ours": partial(ours, 100_000, IN_FLIGHT),
    "aio-pika gathered": partial(plain, 10_000, IN_FLIGHT),
    "aio-pika one at a time": partial(plain, 1_000, 1),
    "frames (limit)": partial(frames, 30_000),
}
LOAD = Bench(
    "publish",
    "event",
    _contenders,
    [
        Ratio("ours", "aio-pika gathered", reach=10),
        Ratio("ours", "frames (limit)"),
        Ratio("aio-pika gathered", "frames (limit)", usual=0.26),
    ],
)

_alone: dict[str, Contender] = {"ours": partial(ours, 1_000, 1), "aio-pika": partial(plain, 1_000, 1)}
ONE = Bench("publish-one", "event", _alone, [Ratio("ours", "aio-pika", reach=0.67)])
