"""The sender alone: racing copies, a destination that hangs, one that puts everything off, a long queue of bulk."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import pytest
from aio_pika import Message
from uuid_utils.compat import uuid7

from tests.conftest import eventually, room
from tests.faults.alone import Alone, alone
from tests.faults.sinks import Sink, silent, sink
from tracepost.broker import Publisher, publishing
from tracepost.topology import REQUESTS

pytestmark = pytest.mark.timeout(120)

Tell = Callable[[object], None]

FOLDER = room("test-senders")


@dataclass(frozen=True)
class Post:
    """Senders, their queue, and a server that takes all."""

    senders: Alone
    publisher: Publisher
    database: str
    sink: Sink

    async def send(self, *recipients: str, key: str = "send.normal", **fields: Any) -> None:
        """Publish a request for each."""
        await asyncio.gather(*(self.publish(asked(each, **fields), key) for each in recipients))

    async def publish(self, request: dict[str, Any], key: str = "send.normal") -> None:
        """Return when the broker has it."""
        await self.publisher.send(Message(json.dumps(request).encode(), content_type="application/json"), REQUESTS, key)

    async def states(self, destination: str) -> Counter[str]:
        """What became of the deliveries so far."""
        connection = await asyncpg.connect(self.database)
        rows = await connection.fetch("SELECT state::text FROM deliveries WHERE destination = $1", destination)
        await connection.close()
        return Counter(row[0] for row in rows)

    async def until_done(self, destination: str, count: int, within: float = 30) -> None:
        """Wait until so many deliveries are done."""

        async def done() -> bool:
            states = await self.states(destination)
            assert states == {"done": count}, states
            return True

        await eventually(done, within)

    def memory(self) -> float:
        """Resident MiB of the first sender."""
        status = Path(f"/proc/{self.senders.processes[0].pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def asked(recipient: str, **fields: Any) -> dict[str, Any]:
    """A request."""
    told = {"message_id": str(uuid7()), "from": "support@tracepost.test", "to": [recipient], "text": "Hello"}
    return told | fields


@asynccontextmanager
async def posting(broker: str, database: str, processes: int = 1, **settings: str) -> AsyncIterator[Post]:
    """Senders that are ready."""
    async with sink() as (taking, port), publishing(broker) as publisher:
        where = {"relay_host": "127.0.0.1", "relay_port": str(port), "default_app": "tests"}
        names = {"bounce_domain": "bounces.test", "pixel_url": "http://pixel.test"}
        async with alone("sender", FOLDER, broker, database, **where, **names, **settings) as senders:
            for number in range(processes):
                await senders.start(number)
            await senders.until_ready()
            yield Post(senders, publisher, database, taking)
            await senders.stop()


async def test_a_hundred_racing_copies_of_a_request_send_one_mail(broker: str, database: str) -> None:
    async with posting(broker, database, processes=2) as post:
        request = asked("ann@example.test")
        await asyncio.gather(*(post.publish(request) for _ in range(100)))
        await post.until_done("example.test", 1)
        await post.send("last@example.test")
        await post.until_done("example.test", 2)
        assert post.sink.copies == {"ann@example.test": 1, "last@example.test": 1}


async def test_the_same_id_with_other_content_is_a_conflict(broker: str, database: str) -> None:
    async with posting(broker, database) as post:
        request = asked("ann@example.test")
        await post.publish(request)
        await post.publish(request | {"text": "Something else"})
        await post.send("last@example.test")
        await post.until_done("example.test", 2)
        assert post.sink.copies == {"ann@example.test": 1, "last@example.test": 1}


@asynccontextmanager
async def troubled(broker: str, database: str) -> AsyncIterator[Post]:
    """`hang.test` never answers, `defer.test` puts everything off."""
    async with silent() as hanging, sink("451 4.3.0 Later") as (_, deferring):
        routes = f"hang.test=127.0.0.1:{hanging},defer.test=127.0.0.1:{deferring}"
        async with posting(broker, database, routes=routes, relay_timeout="5", drain_timeout="20") as post:
            yield post


async def test_who_hangs_and_who_puts_off_costs_the_others_nothing(broker: str, database: str) -> None:
    async with troubled(broker, database) as post:
        await post.send(*(f"a{number}@hang.test" for number in range(300)))
        await post.send(*(f"a{number}@defer.test" for number in range(300)))
        await post.send(*(f"a{number}@example.test" for number in range(300)))
        await post.until_done("example.test", 300)
        assert set(post.sink.copies.values()) == {1}
        assert (await post.states("hang.test"))["done"] == 0
        deferred = await post.states("defer.test")
        assert deferred["done"] == 0
        assert deferred["waiting"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_others_are_as_fast_beside_them(broker: str, database: str, tell: Tell) -> None:
    """Interleaved: alone, and while thousands wait for a destination that hangs and one that puts off."""
    taken: dict[str, list[float]] = {"alone": [], "beside": []}
    async with troubled(broker, database) as post:
        for turn in range(5):
            taken["alone"].append(await timed(post, f"alone{turn}.test"))
            await post.send(*(f"a{turn}.{number}@hang.test" for number in range(1_000)), key="send.bulk")
            await post.send(*(f"a{turn}.{number}@defer.test" for number in range(1_000)), key="send.bulk")
            taken["beside"].append(await timed(post, f"beside{turn}.test"))
    alone_s, beside_s = median(taken["alone"]), median(taken["beside"])
    tell(f"beside {beside_s:.2f} s, alone {alone_s:.2f} s: {beside_s / alone_s:.2f} times")
    assert beside_s < 1.5 * alone_s


async def timed(post: Post, destination: str, count: int = 500) -> float:
    """Seconds until so many are done."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await post.send(*(f"a{number}@{destination}" for number in range(count)))
    await post.until_done(destination, count, within=60)
    return loop.time() - started


async def test_a_normal_request_overtakes_the_bulk(broker: str, database: str, tell: Tell) -> None:
    tell(await overtaken(broker, database, count=2_000))


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_hundred_thousand_that_wait_cost_no_memory_and_no_time(broker: str, database: str, tell: Tell) -> None:
    tell(await overtaken(broker, database, count=100_000))


async def overtaken(broker: str, database: str, count: int) -> str:
    """Let so many of the bulk wait for a server that hangs: a normal request goes at once, and memory is bounded."""
    async with silent() as hanging:
        routes = f"slow.test=127.0.0.1:{hanging}"
        async with posting(broker, database, routes=routes, relay_timeout="5", drain_timeout="20") as post:
            at_rest = post.memory()
            for start in range(0, count, 1_000):
                await post.send(*(f"a{start + number}@slow.test" for number in range(1_000)), key="send.bulk")

            async def all_in_the_queue() -> bool:
                return sum((await post.states("slow.test")).values()) == count

            await eventually(all_in_the_queue, 300)
            await post.send("ann@example.test")
            await post.until_done("example.test", 1, within=5)
            assert (await post.states("slow.test"))["done"] == 0
            grown = post.memory()
            assert grown < 250, f"{grown:.0f} MiB"
            return f"{count} waiting: {grown:.0f} MiB, at rest {at_rest:.0f} MiB"
