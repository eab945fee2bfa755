"""The publisher against a real broker: nothing is told confirmed that is not."""

from __future__ import annotations

import asyncio
from functools import partial

import aio_pika
import pytest
from uuid_utils.compat import uuid7

from local_stack.processes import free_port
from tests.conftest import eventually
from tests.proxy import proxied
from tracepost import events, topology
from tracepost.broker import NotConfirmed, Publisher, Unroutable, publishing
from tracepost.events import AnyEvent, Delivered, Replied, event

QUEUE = topology.STATUS_STORE_EVENTS.name


def delivered(number: int = 0) -> AnyEvent:
    return event("sender", uuid7(), number, Delivered(origin="smtp"))


async def bodies(url: str, count: int) -> list[tuple[str | None, bytes]]:
    """The content type and body of the first messages in status-store's queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(QUEUE)
        messages = [await queue.get(no_ack=True, timeout=5) for _ in range(count)]
        return [(message.content_type, message.body) for message in messages if message]


async def ready(publisher: Publisher) -> None:
    async def up() -> bool:
        return publisher.session.fault is None

    await eventually(up)


async def test_an_event_alone_travels_as_itself(broker: str) -> None:
    sent = delivered()
    async with publishing(broker) as publisher:
        await publisher.publish(sent)
    [(content_type, body)] = await bodies(broker, 1)
    assert content_type == events.EVENT_TYPE
    assert events.decode(body) == sent


async def test_what_arrives_together_travels_together_one_type_to_a_batch(broker: str) -> None:
    sent = [delivered(n) for n in range(100)] + [event("api", uuid7(), 0, Replied()) for _ in range(50)]
    async with publishing(broker) as publisher:
        await ready(publisher)
        await asyncio.gather(*map(publisher.publish, sent))
    batches = await bodies(broker, 2)
    assert {content_type for content_type, _ in batches} == {events.BATCH_TYPE}
    counts = sorted(body.count(b'"specversion"') for _, body in batches)
    assert counts == [50, 100]
    assert all((b"tracepost.replied.v1" in body) != (b"tracepost.delivered.v1" in body) for _, body in batches)


async def test_an_unroutable_event_is_an_error(broker: str) -> None:
    async with publishing(broker) as publisher:
        with pytest.raises(Unroutable, match="topology apply"):
            await publisher.publish(delivered(), exchange="", key="a-queue-that-is-not-there")


async def test_without_a_broker_the_caller_gets_an_error_at_its_limit() -> None:
    async with publishing(f"amqp://guest:guest@127.0.0.1:{free_port()}/", timeout=0.3) as publisher:
        with pytest.raises(NotConfirmed, match="RabbitMQ"):
            await publisher.publish(delivered())


async def test_connections_that_are_cut_under_load_lose_nothing(broker: str) -> None:
    sent = [delivered(n % 50) for n in range(3_000)]
    async with proxied(broker) as (url, proxy), publishing(url) as publisher:
        confirmed = 0

        async def load(share: list[AnyEvent]) -> None:
            nonlocal confirmed
            for each in share:
                await publisher.publish(each)
                confirmed += 1
                if confirmed % 1_000 == 500:
                    assert proxy.cut() == 1

        await ready(publisher)
        await asyncio.gather(*(load(sent[start::20]) for start in range(20)))
    arrived = {each for _, body in await drained(broker) for each in ids(body)}
    assert arrived == {str(each.id) for each in sent}


async def test_nothing_is_confirmed_while_the_broker_does_not_answer(broker: str) -> None:
    async with proxied(broker) as (url, proxy), publishing(url, timeout=1) as publisher:
        await ready(publisher)
        proxy.answering.clear()
        started = asyncio.get_running_loop().time()
        with pytest.raises(NotConfirmed):
            await publisher.publish(delivered())
        assert 0.9 < asyncio.get_running_loop().time() - started < 5
        proxy.answering.set()
        await publisher.publish(delivered())


async def drained(url: str) -> list[tuple[str | None, bytes]]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(QUEUE)
        found = []
        while message := await queue.get(no_ack=True, fail=False, timeout=5):
            found.append((message.content_type, message.body))
        return found


def ids(body: bytes) -> list[str]:
    parts = body.split(b'{"specversion":"1.0","id":"')[1:]
    return [part[:36].decode() for part in parts]


async def test_memory_against_a_dead_broker_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracepost.broker.publisher.MOST_WAITING_BYTES", 20_000)
    publisher = Publisher(f"amqp://guest:guest@127.0.0.1:{free_port()}/", timeout=0.5)
    running = asyncio.create_task(publisher.run())
    callers = [asyncio.create_task(publisher.publish(delivered())) for _ in range(500)]
    most = 0
    while not all(caller.done() for caller in callers):
        most = max(most, publisher.waiting_bytes)
        await asyncio.sleep(0)
    assert 10_000 < most <= 20_000
    assert {type(caller.exception()) for caller in callers} == {NotConfirmed}
    assert publisher.waiting_bytes == 0
    running.cancel()
    await asyncio.wait({running})


async def test_a_slow_broker_gets_nothing_twice(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracepost.broker.publisher.MOST_IN_FLIGHT", 1)
    sent = [delivered(n) for n in range(5)]
    async with proxied(broker) as (url, proxy), publishing(url, timeout=1) as publisher:
        await ready(publisher)
        proxy.answering.clear()
        callers = []
        for each in sent:
            callers.append(asyncio.create_task(publisher.publish(each)))
            await asyncio.sleep(0.2)
        results = await asyncio.gather(*callers, return_exceptions=True)
        proxy.answering.set()
        await publisher.publish(delivered())
    assert {type(result) for result in results} == {NotConfirmed}
    arrived = [each for _, body in await drained(broker) for each in ids(body)]
    assert len(arrived) == len(set(arrived))


async def test_what_nobody_waits_for_any_more_is_not_kept() -> None:
    async with publishing(f"amqp://guest:guest@127.0.0.1:{free_port()}/", timeout=2) as publisher:
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(publisher.publish(delivered()), 0.001)

        async def forgotten() -> bool:
            return not any(publisher._waiting.values())

        await eventually(forgotten, 1)


async def test_what_cannot_be_encoded_is_an_error_of_its_own(broker: str) -> None:
    async with publishing(broker) as publisher:
        await ready(publisher)
        bad = aio_pika.Message(b"", headers={"not AMQP": object()})  # type: ignore[dict-item]
        good = asyncio.create_task(publisher.publish(delivered()))
        with pytest.raises(TypeError):
            await publisher.send(bad, topology.EVENTS, "delivered")
        with pytest.raises(ValueError, match="too long"):
            await publisher.publish(delivered(), key="x" * 256)
        await good
        assert publisher.session.fault is None


async def test_who_still_waits_when_the_publisher_stops_is_told() -> None:
    async with publishing(f"amqp://guest:guest@127.0.0.1:{free_port()}/") as publisher:
        waits = asyncio.create_task(publisher.publish(delivered()))
        await asyncio.sleep(0)
    with pytest.raises(NotConfirmed, match="stopped"):
        await waits


async def test_who_submits_is_told_once_whatever_comes_of_it(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Exception | None] = []

    async def so_many(count: int) -> bool:
        return len(told) == count

    async with proxied(broker) as (url, proxy), publishing(url, timeout=0.3) as publisher:
        await ready(publisher)
        publisher.submit(events.encode(delivered()), "delivered", told.append)
        await eventually(partial(so_many, 1))
        publisher.submit(events.encode(delivered()), "a-queue-that-is-not-there", told.append, exchange="")
        await eventually(partial(so_many, 2))
        proxy.answering.clear()
        publisher.submit(events.encode(delivered()), "delivered", told.append)
        await eventually(partial(so_many, 3))
        publisher.submit(events.encode(delivered()), "delivered", told.append, timeout=60)
        monkeypatch.setattr("tracepost.broker.publisher.MOST_WAITING_BYTES", 0)
        publisher.submit(events.encode(delivered()), "delivered", told.append)
        await eventually(partial(so_many, 4))  # at once, for there is no room
        proxy.answering.set()
        await eventually(partial(so_many, 5))
        assert publisher.waiting_bytes == 0
    assert [type(each) for each in told] == [type(None), Unroutable, NotConfirmed, NotConfirmed, type(None)]
