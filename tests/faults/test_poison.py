"""What cannot be stored is set apart with its reason, and alone: neither events nor dead letters wait behind it."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aio_pika import Message
from uuid_utils.compat import uuid7

from local_stack.stack import Servers
from tests.conftest import eventually
from tests.faults.alone import Alone, alone
from tests.faults.scene import FOLDER, resources
from tests.faults.truth import Books, books, hold
from tests.unit.samples import ACCEPTED
from tracepost import events, topology
from tracepost.broker import Publisher, publishing
from tracepost.events import AnyEvent, Opened, event

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'this event is not wanted'; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.event_id = '{}') EXECUTE FUNCTION refuse()
"""
# Valid JSON, and a name that PostgreSQL cannot store: the reason for which it is refused names it.
HARD_TO_TELL_OF = b'{"type": "tracepost.accepted.v1", "data": {"metadata": {"\\u0000": 5}}}'
HARD_TO_STORE: list[dict[str, Any]] = [
    {"tracepost-problem": problem}
    for problem in ('"{"', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', "[" * 900 + "]" * 900)
]
HARD_TO_STORE += [{"a\0b": "x"}, {"tracepost-routing-key": "a\0b"}]


@dataclass(frozen=True)
class Quiet:
    """A status-store with nothing to do; `stored` is what it has been given and should have stored."""

    running: Alone
    books: Books
    publisher: Publisher
    stored: list[AnyEvent]

    async def batch(self, batch: list[AnyEvent]) -> None:
        """Publish these as one AMQP message."""
        body = events.join(map(events.encode, batch))
        await self.publisher.send(Message(body, content_type=events.BATCH_TYPE), topology.EVENTS, batch[0].name)

    async def letters(self, count: int) -> list[dict[str, Any]]:
        """So many dead letters, once they are there."""

        async def listed() -> list[dict[str, Any]]:
            found = (await self.operate("GET", "dead-letters"))["dead_letters"]
            found = [each for each in found if not each["replayed_at"]]
            assert len(found) == count, f"{len(found)} dead letters: {found}"
            return [await self.operate("GET", f"dead-letters/{each['id']}") for each in found]

        return await eventually(listed)

    async def operate(self, method: str, path: str) -> Any:
        """Ask the API of dead letters."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.running.api()}/{path}") as response,
        ):
            assert response.status < 300, await response.text()
            return await response.json(content_type=None)

    async def all_right(self) -> None:
        """Wait until all is stored and folded once, and no dead letter is left."""
        await eventually(partial(hold, self.books, self.stored))
        await self.running.until_ready()


@pytest_asyncio.fixture(scope="module", loop_scope="session", name="quiet")
async def _quiet(servers: Servers) -> AsyncIterator[Quiet]:
    async with (
        resources(servers.postgres_url, servers) as (broker, database),
        books(broker, database) as told,
        publishing(broker) as publisher,
        alone("status-store", FOLDER, broker, database) as running,
    ):
        await running.start()
        await running.until_ready()
        yield Quiet(running, told, publisher, [])


def opened() -> AnyEvent:
    return event("pixel", uuid7(), 0, Opened(verdict="person", rule="x"))


def accepted(reference: str) -> AnyEvent:
    return event("sender", uuid7(), 0, ACCEPTED.model_copy(update={"reference": reference}))


async def test_what_the_database_refuses_is_set_apart_alone_and_can_be_replayed(quiet: Quiet) -> None:
    batch = [opened() for _ in range(50)]
    poison = batch[20]
    others = {each.id for each in batch if each is not poison}

    async def stored() -> bool:
        rows = await quiet.books.fetch("SELECT event_id FROM events WHERE event_id = ANY ($1)", [e.id for e in batch])
        assert {row[0] for row in rows} == others
        return True

    async with quiet.books.operator() as connection:
        await connection.execute(REFUSE.format(poison.id))
        await quiet.batch(batch)
        [letter] = await quiet.letters(1)
        await eventually(stored)
        await connection.execute("DROP TRIGGER refuse ON events")
    assert (letter["queue"], letter["code"]) == (topology.STATUS_STORE_EVENTS.name, "handler-failed")
    assert "this event is not wanted" in letter["problem"]["detail"]
    await quiet.operate("POST", f"dead-letters/{letter['id']}/replay")
    quiet.stored.extend(batch)
    await quiet.all_right()


async def test_what_an_index_has_no_room_for_is_set_apart_alone(quiet: Quiet) -> None:
    too_long = "".join(Random(1).choices(string.ascii_letters, k=5_000))
    batch = [accepted(each) for each in ("T-1", too_long, "T-2")]
    await quiet.batch(batch)
    [letter] = await quiet.letters(1)
    assert "index row size" in letter["problem"]["detail"]
    await quiet.operate("DELETE", f"dead-letters/{letter['id']}")
    quiet.stored.extend((batch[0], batch[2]))
    await quiet.all_right()


async def test_a_dead_letter_that_is_hard_to_store_holds_up_no_other(quiet: Quiet) -> None:
    bad = Message(HARD_TO_TELL_OF, content_type=events.EVENT_TYPE)
    await quiet.publisher.send(bad, topology.EVENTS, "accepted")
    for number, headers in enumerate(HARD_TO_STORE):
        await quiet.publisher.send(Message(b"%d" % number, headers=headers), topology.DEAD, "a\0b")
    for letter in await quiet.letters(1 + len(HARD_TO_STORE)):
        await quiet.operate("DELETE", f"dead-letters/{letter['id']}")
    await quiet.all_right()
