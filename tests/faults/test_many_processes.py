"""Several processes on one queue, one killed in the middle: in the end all is as one fold of the same events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest

from tests.conftest import eventually
from tests.faults.alone import Alone, alone
from tests.faults.drawn import copied, messages
from tests.faults.scene import FOLDER, publish, settled
from tests.faults.truth import Books, books
from tracepost.broker import Publisher, publishing
from tracepost.events import Accepted, AnyEvent

Tell = Callable[[object], None]

KINDS = {
    *("accepted", "rejected", "deferred", "delivered", "bounced", "complained"),
    *("opened", "replied", "cancelled", "withdrawn", "erased"),
}


@pytest.mark.parametrize(("processes", "seed"), [(2, 1), (4, 2)])
async def test_shuffled_and_repeated_events_equal_the_pure_fold(
    broker: str, database: str, tell: Tell, processes: int, seed: int
) -> None:
    tell(await as_folded(broker, database, processes, seed, count=250))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("processes", "seed"), [(2, 11), (4, 12), (4, 13)])
async def test_very_many_shuffled_and_repeated_events_equal_the_pure_fold(
    broker: str, database: str, tell: Tell, processes: int, seed: int
) -> None:
    tell(await as_folded(broker, database, processes, seed, count=6_000, within=600))


async def as_folded(broker: str, database: str, processes: int, seed: int, count: int, within: float = 60) -> str:
    """Publish, kill and start one process, wait until all is at rest, compare; answers the counts in words."""
    random = Random(seed)
    events = [each for message in islice(messages(random), count) for each in message]
    assert {each.name for each in events} == KINDS
    async with (
        books(broker, database) as told,
        publishing(broker) as publisher,
        # Small transactions, so that the processes meet often.
        alone("status-store", FOLDER, broker, database, batch="4") as running,
    ):
        await asyncio.gather(*(running.start(number) for number in range(processes)))
        await running.until_ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(published(publisher, random, events))
            group.create_task(killed(running, told, len(events) // 3, within))
        return f"seed {seed}, {processes} processes: {await settled(running, told, events, within)}"


async def published(publisher: Publisher, random: Random, events: list[AnyEvent]) -> None:
    """Copies of all; of one message in ten every `accepted` comes last."""

    def is_late(each: AnyEvent) -> bool:
        return isinstance(each.data, Accepted) and each.message_id.int % 10 == 0

    late = [each for each in events if is_late(each)]
    assert late
    for part in ([each for each in events if not is_late(each)], late):
        await publish(publisher, random, copied(random, part))


async def killed(running: Alone, told: Books, when: int, within: float) -> None:
    """Kill one process when so many events are stored, and start it again."""

    async def so_many() -> bool:
        return await told.stored() >= when

    await eventually(so_many, within)
    await running.kill()
    await running.start()
