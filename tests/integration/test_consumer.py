"""The consumer against a real broker: each element is done, set apart with its reason, or tried again in process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7

from local_stack.stack import Servers
from tests.conftest import eventually
from tests.proxy import proxied
from tracepost import events, topology
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.events import AnyEvent, Bounced, Delivered, event
from tracepost.problems import Problem

QUEUE = topology.STATUS_STORE_EVENTS


class Away(Exception):
    """What stands for a database that is away."""


class Handler:
    """Writes down what it was given; `fault` may refuse it."""

    def __init__(self) -> None:
        self.seen: list[AnyEvent] = []
        self.calls = 0
        self.fault: Callable[[Sequence[AnyEvent]], None] = lambda batch: None
        self.refused: Callable[[AnyEvent], bool] = lambda event: False

    async def __call__(self, batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
        self.calls += 1
        self.fault(batch)
        self.seen += [each for each in batch if not self.refused(each)]
        told = Problem(code="told", title="Refused by the handler")
        return {index: told for index, each in enumerate(batch) if self.refused(each)}


@asynccontextmanager
async def consumed(url: str, handler: Handler) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """The handler at work, and a channel to publish by hand."""
    async with (
        publishing(url) as publisher,
        consuming(url, QUEUE, EVENTS, handler, publisher, transient=(Away,)),
        await aio_pika.connect(url) as connection,
        connection.channel() as channel,
    ):
        yield channel


async def put(
    channel: aio_pika.abc.AbstractChannel, body: bytes, content_type: str, reply_to: str | None = None
) -> None:
    exchange = await channel.get_exchange(topology.EVENTS)
    message = aio_pika.Message(body, content_type=content_type, reply_to=reply_to, correlation_id="c-1")
    await exchange.publish(message, "delivered")


async def take(channel: aio_pika.abc.AbstractChannel, queue: str) -> AbstractIncomingMessage:
    source = await channel.get_queue(queue)

    async def look() -> AbstractIncomingMessage | None:
        return await source.get(no_ack=True, fail=False, timeout=5)

    found = await eventually(look)
    assert found is not None
    return found


async def empty(channel: aio_pika.abc.AbstractChannel, queue: str) -> None:
    """Wait until the queue holds nothing, ready or unacknowledged: a passive declaration counts what is ready."""

    async def look() -> bool:
        return (await (await channel.get_queue(queue)).declare()).message_count == 0

    await eventually(look)


def delivered(number: int = 0) -> AnyEvent:
    return event("sender", uuid7(), number, Delivered(origin="smtp"))


async def seen(handler: Handler, count: int) -> None:
    async def look() -> bool:
        return len(handler.seen) >= count

    await eventually(look)


async def test_single_events_and_batches_are_taken_alike(broker: str) -> None:
    handler, sent = Handler(), [delivered(n) for n in range(5)]
    async with consumed(broker, handler) as channel:
        await put(channel, events.encode(sent[0]), events.EVENT_TYPE)
        await put(channel, events.join(map(events.encode, sent[1:])), events.BATCH_TYPE)
        await seen(handler, 5)
        await empty(channel, QUEUE.name)
    assert handler.seen == sent


async def test_a_bad_element_is_set_apart_and_its_neighbours_are_taken(broker: str) -> None:
    handler, good = Handler(), [delivered(1), delivered(2)]
    bad = b'{"specversion":"1.0","id":"no-uuid","type":"tracepost.delivered.v1"}'
    async with consumed(broker, handler) as channel:
        await put(channel, events.join([events.encode(good[0]), bad, events.encode(good[1])]), events.BATCH_TYPE)
        await seen(handler, 2)
        dead = await take(channel, topology.DEAD)
    assert handler.seen == good
    assert dead.headers["tracepost-code"] == "invalid-event"
    assert dead.headers["tracepost-queue"] == QUEUE.name
    assert dead.routing_key == QUEUE.name
    problem = json.loads(str(dead.headers["tracepost-problem"]))
    assert {fault["pointer"].rpartition("/")[2] for fault in problem["errors"]} >= {"id", "data", "time", "subject"}
    assert json.loads(dead.body)["id"] == "no-uuid"


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"no JSON", events.EVENT_TYPE, "invalid-event"),
        (b"no JSON", events.BATCH_TYPE, "invalid-event"),
        (b"{}", events.BATCH_TYPE, "invalid-event"),
        (b"{}", "text/plain", "unknown-content-type"),
    ],
)
async def test_what_cannot_be_read_is_set_apart_and_told(
    broker: str, body: bytes, content_type: str, code: str
) -> None:
    async with consumed(broker, Handler()) as channel:
        answers = await channel.declare_queue(exclusive=True)
        await put(channel, body, content_type, reply_to=answers.name)
        dead, answer = await take(channel, topology.DEAD), await take(channel, answers.name)
    assert dead.body == body
    assert dead.headers["tracepost-code"] == code
    assert answer.correlation_id == "c-1"
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.body)["code"] == code


async def test_an_answer_that_nobody_waits_for_holds_up_nothing(broker: str) -> None:
    handler = Handler()
    async with consumed(broker, handler) as channel:
        await put(channel, b"no JSON", events.EVENT_TYPE, reply_to="nobody")
        await put(channel, events.encode(delivered()), events.EVENT_TYPE)
        await seen(handler, 1)


async def test_a_poison_element_shows_itself_alone(broker: str) -> None:
    handler, sent = Handler(), [delivered(n) for n in range(10)]

    def fail_on_seven(batch: Sequence[AnyEvent]) -> None:
        if any(each.recipient_no == 7 for each in batch):
            raise ZeroDivisionError("seven")

    handler.fault = fail_on_seven
    async with consumed(broker, handler) as channel:
        await put(channel, events.join(map(events.encode, sent)), events.BATCH_TYPE)
        await seen(handler, 9)
        dead = await take(channel, topology.DEAD)
    assert [each.recipient_no for each in handler.seen] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert dead.headers["tracepost-code"] == "handler-failed"
    assert events.decode(dead.body) == sent[7]


async def test_what_the_handler_refuses_is_set_apart(broker: str) -> None:
    handler, sent = Handler(), [delivered(n) for n in range(3)]
    handler.refused = lambda each: each.recipient_no == 1
    async with consumed(broker, handler) as channel:
        await put(channel, events.join(map(events.encode, sent)), events.BATCH_TYPE)
        dead = await take(channel, topology.DEAD)
        await seen(handler, 2)
    assert (dead.headers["tracepost-code"], events.decode(dead.body)) == ("told", sent[1])


async def test_what_is_only_away_is_waited_out_in_process(broker: str) -> None:
    handler = Handler()

    def away_three_times(batch: Sequence[AnyEvent]) -> None:
        if handler.calls < 4:
            raise Away

    handler.fault = away_three_times
    async with consumed(broker, handler) as channel:
        await put(channel, events.encode(delivered()), events.EVENT_TYPE)
        await seen(handler, 1)
        await empty(channel, QUEUE.name)
        assert (await (await channel.get_queue(topology.DEAD)).declare()).message_count == 0
    assert handler.calls == 4


async def test_connections_that_are_cut_mean_at_most_a_repetition(broker: str) -> None:
    handler, sent = Handler(), [delivered(n % 50) for n in range(500)]
    async with (
        publishing(broker) as publisher,
        proxied(broker) as (url, proxy),
        consuming(url, QUEUE, EVENTS, handler, publisher, most=5),
    ):
        for start in range(0, 500, 50):
            await asyncio.gather(*map(publisher.publish, sent[start : start + 50]))
            await seen(handler, start)
            proxy.cut()
        await seen_all(handler, sent)


async def seen_all(handler: Handler, sent: Sequence[AnyEvent]) -> None:
    wanted = {each.id for each in sent}

    async def look() -> bool:
        return {each.id for each in handler.seen} == wanted

    await eventually(look)


async def test_a_deleted_queue_is_named_and_its_return_is_noticed(servers: Servers, broker: str) -> None:
    handler = Handler()
    async with (
        publishing(broker) as publisher,
        consuming(broker, QUEUE, EVENTS, handler, publisher) as consumer,
        await aio_pika.connect(broker) as connection,
        connection.channel() as channel,
    ):

        async def up() -> bool:
            return await consumer.session.check() is None

        async def named() -> bool:
            return f"queue {QUEUE.name} does not exist" in (await consumer.session.check() or "")

        await eventually(up)
        await channel.queue_delete(QUEUE.name)
        await eventually(named)
        await topology.apply(servers.broker.management_url, broker.rpartition("/")[2])
        await eventually(up)
        await publisher.publish(event("sender", uuid7(), 0, Bounced(bounce_class="hard", category="x", origin="smtp")))
        await seen(handler, 1)


async def test_stopping_finishes_the_batch_in_hand(broker: str) -> None:
    started, release = asyncio.Event(), asyncio.Event()
    done: list[AnyEvent] = []

    async def slow(batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
        started.set()
        await release.wait()
        done.extend(batch)
        return {}

    async with publishing(broker) as publisher:
        await publisher.publish(delivered())
        async with consuming(broker, QUEUE, EVENTS, slow, publisher):
            await started.wait()
            asyncio.get_running_loop().call_later(0.1, release.set)
        assert len(done) == 1
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        await empty(channel, QUEUE.name)


async def test_stopping_while_a_need_is_away_leaves_the_batch_to_the_broker(broker: str) -> None:
    handler, sent = Handler(), delivered()

    def always_away(batch: Sequence[AnyEvent]) -> None:
        raise Away

    handler.fault = always_away
    async with consumed(broker, handler) as channel:
        await put(channel, events.encode(sent), events.EVENT_TYPE)

        async def tried() -> bool:
            return handler.calls > 0

        await eventually(tried)
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        message = await take(channel, QUEUE.name)
    assert events.decode(message.body) == sent


async def test_large_headers_cost_the_dead_letter_no_connection(broker: str) -> None:
    async with consumed(broker, Handler()) as channel:
        exchange = await channel.get_exchange(topology.EVENTS)
        message = aio_pika.Message(b"no JSON", headers={"large": "x" * 128_000}, content_type=events.EVENT_TYPE)
        await exchange.publish(message, "delivered")
        dead = await take(channel, topology.DEAD)
    assert dead.body == b"no JSON"
    assert dead.headers["tracepost-code"] == "invalid-event"
    assert "large" not in dead.headers


async def test_a_full_queue_for_answers_means_one_dead_letter_and_goes_on(broker: str) -> None:
    handler = Handler()
    async with consumed(broker, handler) as channel:
        answers = await channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"first"), answers.name)
        await put(channel, b"no JSON", events.EVENT_TYPE, reply_to=answers.name)
        await put(channel, events.encode(delivered()), events.EVENT_TYPE)
        await seen(handler, 1)
        assert (await (await channel.get_queue(topology.DEAD)).declare()).message_count == 1


def retries() -> float | None:
    return REGISTRY.get_sample_value("tracepost_handler_retries_total", {"queue": QUEUE.name})


async def test_the_handler_is_not_run_again_for_a_dead_letter_that_has_to_wait(broker: str) -> None:
    handler = Handler()
    handler.refused = lambda each: True
    async with (
        proxied(broker) as (url, proxy),
        publishing(url, timeout=0.3) as publisher,
        consuming(broker, QUEUE, EVENTS, handler, publisher),
        await aio_pika.connect(broker) as connection,
        connection.channel() as channel,
    ):

        async def up() -> bool:
            return publisher.session.fault is None

        async def retried() -> bool:
            return (retries() or 0) > before

        await eventually(up)
        before = retries() or 0
        proxy.answering.clear()
        await put(channel, events.encode(delivered()), events.EVENT_TYPE)
        await eventually(retried)
        proxy.answering.set()
        for _ in range(2):  # the one whose confirm was late, and that of the second try
            await take(channel, topology.DEAD)
    assert handler.calls == 1


async def test_a_handler_is_not_given_more_than_it_can_carry(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracepost.broker.consumer.MOST_ELEMENTS", 100)
    handler, sizes = Handler(), list[int]()
    handler.fault = lambda batch: sizes.append(len(batch))
    async with publishing(broker) as publisher:
        for _ in range(10):
            await asyncio.gather(*(publisher.publish(delivered(n)) for n in range(60)))
    async with consumed(broker, handler):
        await seen(handler, 600)
    assert len(handler.seen) == 600
    assert max(sizes) < 160
