"""Events of many messages drawn from a seed, and the AMQP messages in which copies of them arrive, shuffled."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cache
from random import Random
from uuid import UUID

from aio_pika import Message
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.unit.histories import GROUPS, KINDS, START
from tracepost import events
from tracepost.events import Accepted, AnyEvent, Data, event

EXAMPLES = 20  # of each kind, to choose from: to draw each event would take longer than to store it
DAYS = 300  # so that several months are written to
LARGEST_BATCH = 120  # of all types together

Known = dict[str, list[Data]]  # by kind
Arriving = tuple[str, Message]  # with its routing key


def messages(random: Random) -> Iterator[list[AnyEvent]]:
    """All events of one message after the other, without end."""
    known = _known(random.getrandbits(32))
    while True:
        id_ = _message_id(random)
        count = random.randint(1, 3)
        yield [each for number in range(count) for each in _delivery(random, known, id_, number, count)]


def copied(random: Random, found: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Two or three of each, in any order."""
    copies = [each for each in found for _ in range(random.randint(2, 3))]
    random.shuffle(copies)
    return copies


def arriving(random: Random, copies: list[AnyEvent]) -> Iterator[Arriving]:
    """In about this order; single events and batches, each of one type."""
    while copies:
        size = random.randint(1, LARGEST_BATCH)
        head, copies = copies[:size], copies[size:]
        by_name: defaultdict[str, list[bytes]] = defaultdict(list)
        for each in head:
            by_name[each.name].append(events.encode(each))
        for name, bodies in by_name.items():
            if len(bodies) == 1 and random.random() < 0.5:
                yield name, Message(bodies[0], content_type=events.EVENT_TYPE)
            else:
                yield name, Message(events.join(bodies), content_type=events.BATCH_TYPE)


def _message_id(random: Random) -> UUID:
    """A UUIDv7 of the last months."""
    moment = time.time() - random.random() * timedelta(days=DAYS).total_seconds()
    return UUID(
        int=int(moment * 1000) << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    )


def _delivery(random: Random, known: Known, id_: UUID, number: int, count: int) -> Iterator[AnyEvent]:
    """Of kinds that act on each other, at few different times; one in ten is never accepted."""
    kinds = random.choices(random.choice([GROUPS[0], random.choice(GROUPS)]), k=random.randint(1, 6))
    found = [random.choice(known[kind]) for kind in kinds if kind not in ("status-changed", "accepted")]
    if random.random() < 0.9:
        found += random.choices(known["accepted"], k=random.choice((1, 1, 2)))
    for data in found:
        if isinstance(data, Accepted):
            data = data.model_copy(update={"recipient_count": count, "reference": str(id_)})
        moment = START + timedelta(minutes=random.randint(0, 3))
        yield event("test", id_, number, data, id=UUID(int=random.getrandbits(128), version=4), time=moment)


@cache
def _known(number: int) -> Known:
    found: Known = {kind: [] for kind in KINDS}

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries(KINDS))
    def collect(drawn: dict[str, Data]) -> None:
        for kind, data in drawn.items():
            found[kind].append(data)

    collect()
    return found
