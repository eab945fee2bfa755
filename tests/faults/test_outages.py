"""The broker stops, closes connections, runs out of memory, loses a queue: nothing is lost, and it is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from local_stack.stack import SERVICES
from tests.conftest import eventually
from tests.faults.alarm import all_blocked, reached
from tests.faults.load import loading
from tests.faults.settle import settle
from tests.faults.site import Site
from tracepost import topology
from tracepost.topology import Queue

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

Tell = Callable[[object], None]


async def outage(site: Site, tell: Tell, *, down: float, alarm: float, rate: float) -> None:
    """The broker closes all connections, stops, and has a memory alarm, under load; no service is restarted."""
    pids = {service: site.stack.processes[service].pid for service in SERVICES}
    async with loading(site, rate=rate) as load:
        await site.close_connections()
        await site.node.stop()
        stopped = asyncio.create_task(asyncio.sleep(down))
        for service in SERVICES:
            await site.until_unready(service, "RabbitMQ: ")
        await stopped
        await site.node.start()
        tell(f"all ready {await site.until_ready():.1f} s after the broker")
        async with all_blocked(site, load):
            await asyncio.sleep(alarm)
        tell(f"all ready {await site.until_ready():.1f} s after the alarm")
        verdict = await settle(site, load)
    tell(verdict)
    assert verdict.clean, verdict
    assert verdict.duplicated == verdict.unknown == 0
    assert {service: site.stack.processes[service].pid for service in SERVICES} == pids


async def test_a_short_outage_loses_nothing(site: Site, tell: Tell) -> None:
    await outage(site, tell, down=0, alarm=3, rate=10)  # its stop and start alone take 6 s


@pytest.mark.parametrize("queue", [topology.SENDER_BULK, topology.STATUS_STORE_EVENTS])
async def test_a_queue_deleted_under_its_consumer_is_named_and_consumed_again(site: Site, queue: Queue) -> None:
    service = queue.name.partition(".")[0]
    await site.delete_queue(queue.name)
    await site.until_unready(service, f"queue {queue.name} does not exist: run `tracepost topology apply`")
    await topology.apply(site.node.broker.management_url)
    await site.until_ready(service)
    async with loading(site, rate=50, key=queue.keys[0].replace("#", "send.normal")) as load:
        await eventually(partial(reached, load, 6))
        verdict = await settle(site, load)
    assert verdict.clean, verdict


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_long_outage_loses_nothing(site: Site, tell: Tell) -> None:
    await outage(site, tell, down=90, alarm=30, rate=10)
