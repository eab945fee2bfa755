"""How a consumer waits for what comes: nothing that happens while it acknowledges is overlooked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from tracepost import topology
from tracepost.broker.consumer import Codec, Consumer, _Settled
from tracepost.broker.publisher import Publisher


class Channel:
    """Acknowledges; meanwhile something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self.acknowledged: list[int] = []
        self._happens = happens

    async def basic_ack(self, tag: int, multiple: bool) -> None:
        self._happens()
        await asyncio.sleep(0)
        self.acknowledged.append(tag)


def idle() -> Consumer[None]:
    async def handle(_: object) -> dict[int, Any]:
        return {}

    codec: Codec[None] = Codec(lambda _: [], lambda _: b"")
    nobody = cast(Publisher, None)
    return Consumer("", topology.STATUS_STORE_EVENTS, codec, handle, nobody, most=1, at_once=1, transient=())


async def test_a_consumer_that_stops_while_it_acknowledges_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracepost.broker.consumer.ACK_DELAY", 60)  # so that nothing else wakes it
    consumer = idle()
    settled = _Settled(cast(Any, Channel(consumer.stop)), 1, consumer._woken.set)
    settled.add([1])
    async with asyncio.timeout(5):
        assert await consumer._gather(deque(), settled) == []


async def test_what_is_late_while_another_is_acknowledged_is_so_too() -> None:
    channel = Channel(lambda: settled._delayed())
    settled = _Settled(cast(Any, channel), 10, lambda: None)
    settled.add([1])
    await settled.acknowledge(now=True)
    settled.add([2])
    channel._happens = lambda: None
    await settled.acknowledge()
    assert channel.acknowledged == [1, 2]
