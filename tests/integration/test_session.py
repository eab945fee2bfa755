"""Sessions against a broker of their own: through an alarm, an outage, and every way in which a connection fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import aio_pika
import aiohttp
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7
from yarl import URL

from local_stack.rabbitmq import RabbitNode
from tests.conftest import eventually
from tracepost import topology
from tracepost.broker import EVENTS, NotConfirmed, consuming, publishing
from tracepost.broker.session import Session
from tracepost.events import AnyEvent, Delivered, event
from tracepost.problems import Problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCKED = "RabbitMQ has blocked this connection: low on memory"
RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RabbitNode]:
    """A node that may be stopped, with the topology on it."""
    own = RabbitNode(tmp_path_factory.mktemp("node"), print)
    await own.start()
    try:
        await topology.apply(own.broker.management_url)
        yield own
    finally:
        await own.stop()


async def rabbitmqctl(node: RabbitNode, *arguments: str) -> None:
    if not Path(RABBITMQCTL).exists():
        pytest.skip("needs the rabbitmqctl of Debian's package")
    ctl = await asyncio.create_subprocess_exec(
        RABBITMQCTL, *arguments, env=node.environment, stdout=asyncio.subprocess.DEVNULL
    )
    assert await ctl.wait() == 0


async def memory(node: RabbitNode, share: str) -> None:
    """Let the memory alarm be at this share of all memory."""
    await rabbitmqctl(node, "set_vm_memory_high_watermark", share)


def delivered(number: int = 0) -> AnyEvent:
    return event("sender", uuid7(), number, Delivered(origin="smtp"))


def blocked() -> float | None:
    return REGISTRY.get_sample_value("tracepost_amqp_blocked", {"session": "publisher"})


async def test_an_alarm_is_told_and_waited_out(node: RabbitNode) -> None:
    url = node.broker.amqp_url
    async with publishing(url, timeout=1) as publisher, publishing(url) as patient:
        await publisher.publish(delivered())
        await memory(node, "0.0000001")
        try:
            with pytest.raises(NotConfirmed, match=BLOCKED):
                await publisher.publish(delivered())
            waits = asyncio.create_task(patient.publish(delivered()))
            assert (await publisher.session.check(), blocked()) == (BLOCKED, 1)
            with pytest.raises(NotConfirmed):
                await publisher.publish(delivered())
            assert not waits.done()
        finally:
            await memory(node, "0.4")
        await waits

        async def lifted() -> bool:
            return await publisher.session.check() is None and blocked() == 0

        await eventually(lifted)
        await publisher.publish(delivered())


async def test_an_outage_loses_nothing_and_both_sides_come_back(node: RabbitNode) -> None:
    url, over = node.broker.amqp_url, asyncio.Event()
    confirmed: list[AnyEvent] = []
    seen: set[str] = set()

    async def handle(batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
        seen.update(str(each.id) for each in batch)
        return {}

    async with publishing(url) as publisher:

        async def load() -> None:
            while not over.is_set():
                each = delivered()
                await publisher.publish(each)
                confirmed.append(each)
                await asyncio.sleep(0.001)

        async def more_than(count: int) -> None:
            async def look() -> bool:
                return len(confirmed) > count and all(str(each.id) in seen for each in confirmed[-1:])

            await eventually(look, 30)

        async with consuming(url, topology.STATUS_STORE_EVENTS, EVENTS, handle, publisher) as consumer:
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(load())
                await more_than(100)
                await node.stop()
                assert await publisher.session.check()
                assert await consumer.session.check()
                await node.start()
                await more_than(len(confirmed))
                over.set()

            async def all_seen() -> bool:
                return {str(each.id) for each in confirmed} <= seen

            await eventually(all_seen)
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:

        async def nothing_is_left() -> bool:
            left = await (await channel.get_queue(topology.STATUS_STORE_EVENTS.name)).declare()
            return left.message_count == 0

        await eventually(nothing_is_left)


@pytest.mark.parametrize("error", [RuntimeError("closed"), Exception(), asyncio.CancelledError()], ids=repr)
async def test_what_aiormq_raises_on_lost_connections_ends_no_session(node: RabbitNode, error: BaseException) -> None:
    used = 0

    async def use(_: AbstractChannel) -> None:
        nonlocal used
        used += 1
        if used == 1:
            raise error
        session.up()
        await session.stopping.wait()

    session = Session("tried", node.broker.amqp_url, use)
    supervised = asyncio.create_task(session.supervise())

    async def up() -> bool:
        assert not supervised.done()
        return session.fault is None

    await eventually(up)
    session.stopping.set()
    await supervised


async def test_a_session_whose_connecting_is_cancelled_from_within_goes_on(
    node: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, failures = aio_pika.connect, [asyncio.CancelledError(), RuntimeError("closed"), Exception()]

    async def fail_first(*arguments: str, heartbeat: int) -> aio_pika.abc.AbstractConnection:
        if failures:
            raise failures.pop(0)
        return await connect(*arguments, heartbeat=heartbeat)

    monkeypatch.setattr(aio_pika, "connect", fail_first)
    async with publishing(node.broker.amqp_url) as publisher:
        await publisher.publish(delivered())
    assert not failures


# What a node finds that was stopped while it declared the queue: the queue's entry, and a member that never ran.
NEVER_RAN = """
    {ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"status-store.events">>)),
    ok = ra:force_delete_server(quorum_queues, amqqueue:get_pid(Queue)),
    rabbit_quorum_queue:recover(<<"/">>, [Queue]).
"""


async def test_a_queue_that_elects_no_leader_is_told_with_the_remedy_and_the_remedy_helps(node: RabbitNode) -> None:
    queue = topology.STATUS_STORE_EVENTS
    await rabbitmqctl(node, "eval", NEVER_RAN)

    async def handle(batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
        return {}

    async with (
        publishing(node.broker.amqp_url) as publisher,
        consuming(node.broker.amqp_url, queue, EVENTS, handle, publisher) as consumer,
    ):

        async def told() -> bool:
            return "delete it and run `tracepost topology apply`" in (await consumer.check() or "")

        await eventually(told)
        url = URL(node.broker.management_url)
        target = url.with_user(None).with_path(f"/api/queues/%2F/{queue.name}", encoded=True)
        headers = {"Authorization": aiohttp.encode_basic_auth(url.user or "", url.password or "")}
        async with aiohttp.request("DELETE", target, headers=headers, raise_for_status=True):
            pass
        await topology.apply(node.broker.management_url)

        async def serves() -> bool:
            return await consumer.check() is None

        await eventually(serves)
