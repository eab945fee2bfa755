"""Consuming a quorum queue until it is empty: each event alone in its message, as peers have it, and in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import aio_pika
import aiormq
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import DeliveredMessage

from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong
from tests.bench.publish import ids, sample
from tests.bench.raw_amqp import Raw, encoded
from tracepost import events, topology
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.events import AnyEvent
from tracepost.problems import Problem

QUEUE = topology.STATUS_STORE_EVENTS
PREFETCH = 200

# Consumes until `Seen` has all.
Consume = Callable[[str, "Seen"], Awaitable[None]]


class Seen:
    """The ids that were consumed, and whether it is enough."""

    def __init__(self, enough: int) -> None:
        self._enough, self.ids, self.all = enough, list[str](), asyncio.Event()

    def add(self, new: Sequence[str]) -> None:
        """Take these."""
        self.ids += new
        if len(self.ids) >= self._enough:
            self.all.set()


@asynccontextmanager
async def filled(count: int, batch: int, consume: Consume, url: str) -> AsyncIterator[Work]:
    """A queue with so many events; afterwards each was consumed once, and nothing is left."""
    sent = sample(count)
    with Raw(url) as raw:
        raw.publish([_encoded(sent[start : start + batch]) for start in range(0, count, batch)])
    seen = Seen(count)

    async def work() -> int:
        await consume(url, seen)
        return count

    yield work
    if sorted(seen.ids) != sorted(str(each.id) for each in sent):
        raise Wrong(f"{count} events were there, {len(seen.ids)} came, {len(set(seen.ids))} of them different")
    with Raw(url) as raw:
        if left := raw.waiting(QUEUE.name):
            raise Wrong(f"{left} messages were not acknowledged")


def _encoded(batch: Sequence[AnyEvent]) -> bytes:
    if len(batch) == 1:
        return encoded(topology.EVENTS, "delivered", events.encode(batch[0]), events.EVENT_TYPE)
    return encoded(topology.EVENTS, "delivered", events.join(map(events.encode, batch)), events.BATCH_TYPE)


async def ours(url: str, seen: Seen) -> None:
    """Our consumer."""

    async def handle(batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
        seen.add([str(each.id) for each in batch])
        return {}

    async with publishing(url) as publisher, consuming(url, QUEUE, EVENTS, handle, publisher, most=PREFETCH // 2):
        await seen.all.wait()


async def plain(every: int, url: str, seen: Seen) -> None:
    """aio-pika, an acknowledgement for so many messages."""
    unsettled = 0

    async def take(message: AbstractIncomingMessage) -> None:
        nonlocal unsettled
        seen.add([str(each.id) for each in EVENTS.decode(message)])  # type: ignore[union-attr, arg-type]
        unsettled += 1
        if unsettled == every or seen.all.is_set():
            unsettled = 0
            await message.ack(multiple=every > 1)

    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(QUEUE.name)
        await queue.consume(take)
        await seen.all.wait()
        await queue.declare()  # the answer comes behind the last acknowledgement


async def bare(url: str, seen: Seen) -> None:
    """aiormq, an acknowledgement for half of the prefetched messages, nothing decoded."""
    unsettled = 0
    connection = await aiormq.connect(url)
    channel = await connection.channel()

    async def take(message: DeliveredMessage) -> None:
        nonlocal unsettled
        seen.add(ids(message.body))
        unsettled += 1
        if unsettled == PREFETCH // 2 or seen.all.is_set():
            unsettled = 0
            await channel.basic_ack(message.delivery_tag or 0, multiple=True)

    await channel.basic_qos(prefetch_count=PREFETCH)
    await channel.basic_consume(QUEUE.name, take)
    await seen.all.wait()
    await channel.queue_declare(QUEUE.name, passive=True)
    await connection.close()


async def unacknowledged(url: str, seen: Seen) -> None:
    """No acknowledgements, nothing but the bodies: what the broker gives."""

    def take() -> None:
        with Raw(url) as raw:
            bodies = raw.consume(QUEUE.name)
            while not seen.all.is_set():
                seen.add(ids(next(bodies)))

    await asyncio.to_thread(take)


contenders: dict[str, Contender] = {
    "ours": partial(filled, 20_000, 1, ours),
    "ours, batches of 50": partial(filled, 50_000, 50, ours),
    "aio-pika ack each": partial(filled, 10_000, 1, partial(plain, 1)),
    "aio-pika multiple": partial(filled, 10_000, 1, partial(plain, PREFETCH // 2)),
    "aio-pika multiple, batches of 50": partial(filled, 50_000, 50, partial(plain, PREFETCH // 2)),
    "aiormq multiple, undecoded": partial(filled, 20_000, 1, bare),
    "no ack, undecoded (limit)": partial(filled, 50_000, 1, unacknowledged),
}
BENCH = Bench(
    "consume",
    "event",
    contenders,
    [
        Ratio("ours", "aio-pika multiple", reach=1),
        Ratio("ours, batches of 50", "aio-pika multiple", reach=5),
        Ratio("ours, batches of 50", "aio-pika multiple, batches of 50"),
        Ratio("ours", "aiormq multiple, undecoded"),
        Ratio("ours", "no ack, undecoded (limit)"),
        Ratio("aiormq multiple, undecoded", "no ack, undecoded (limit)", usual=0.25),
    ],
)
