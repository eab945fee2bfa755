"""The outbound queue against a real PostgreSQL: who may send, who may record, and what is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sender.outcome import Outcome
from sender.store import Leased, NewRequest, Queue
from sender.suppression import Evidence
from sender.suppression_store import Learnt, Suppressions
from tracepost import events, postgres
from tracepost.events import Accepted, Delivered, event
from tracepost.runner import Unavailable

NOW = datetime.now(UTC)


@pytest.fixture
async def queue(database: str) -> AsyncIterator[Queue]:
    async with postgres.connected(database, "sender") as pool:
        yield Queue(pool, lease=timedelta(minutes=10), doubt=timedelta(minutes=15))


def new(recipients: int = 1, digest: bytes = b"d", message_id: UUID | None = None) -> NewRequest:
    message_id = message_id or uuid7()
    accepted = Accepted(
        recipient="a@example.test",
        recipient_count=recipients,
        sender="s@example.test",
        subject_line="",
        rfc_message_id="<x@example.test>",
        app="app",
        track_opens="full",
        has_html=False,
        size=1,
    )
    return NewRequest(
        message_id=message_id,
        digest=digest,
        app="app",
        body=b"{}",
        traceparent=None,
        lane="normal",
        recipients=[f"r{number}@example.test" for number in range(recipients)],
        due_at=NOW,
        expires_at=NOW + timedelta(days=3),
        park_unknown=False,
        accepted=[event("sender", message_id, number, accepted) for number in range(recipients)],
    )


async def outbox(queue: Queue) -> list[str]:
    async with queue.outbox(1000) as found:
        return [f"{each.name} {each.subject}" for each in found]


def delivered(leased: Leased) -> events.AnyEvent:
    return event("sender", leased.message_id, leased.recipient_no, Delivered(origin="smtp"))


async def expire_lease(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE deliveries SET due_at = now() - interval '1 second' WHERE state <> 'done'")
    await connection.close()


async def test_a_request_is_inserted_once_with_its_events(queue: Queue) -> None:
    request = new(recipients=3)
    assert await queue.insert([request]) == {}
    assert await queue.insert([request]) == {request.message_id: b"d"}
    assert await outbox(queue) == [f"accepted {request.message_id}/{number}" for number in range(3)]
    assert len(await queue.lease("normal", 10)) == 3


async def test_a_hundred_racing_copies_are_one_request(queue: Queue) -> None:
    request = new()
    await asyncio.gather(*(queue.insert([request]) for _ in range(100)))
    assert len(await outbox(queue)) == 1
    assert len(await queue.lease("normal", 10)) == 1


async def test_racing_leases_share_no_delivery(queue: Queue) -> None:
    await queue.insert([new() for _ in range(60)])
    shares: Sequence[list[Leased]] = await asyncio.gather(*(queue.lease("normal", 10) for _ in range(8)))
    keys = [(each.message_id, each.recipient_no) for share in shares for each in share]
    assert len(keys) == len(set(keys)) == 60


async def test_lanes_are_leased_apart(queue: Queue) -> None:
    await queue.insert([new()])
    assert await queue.lease("bulk", 10) == []


async def test_an_expired_lease_is_fenced_off(queue: Queue, database: str) -> None:
    await queue.insert([new()])
    [slow] = await queue.lease("normal", 1)
    await expire_lease(database)
    [quick] = await queue.lease("normal", 1)
    assert quick.fence > slow.fence
    assert not await queue.doubt(slow, "nobody")
    assert not await queue.settle(slow, Outcome("done", Delivered(origin="smtp")), delivered(slow))
    assert await queue.doubt(quick, "nobody")
    assert not await queue.doubt(quick, "nobody")  # the final dot may be sent once
    assert await queue.settle(quick, Outcome("done", Delivered(origin="smtp")), delivered(quick))
    assert [name.split()[0] for name in await outbox(queue)] == ["accepted", "delivered"]


async def test_a_lease_that_ended_in_doubt_says_so(queue: Queue, database: str) -> None:
    await queue.insert([new()])
    [first] = await queue.lease("normal", 1)
    assert await queue.doubt(first, "nobody")
    await expire_lease(database)
    [second] = await queue.lease("normal", 1)
    assert (second.in_doubt, second.outcome_unknown, second.attempt) == (True, True, first.attempt)


async def test_a_doubt_stays_until_it_is_on_the_record(queue: Queue, database: str) -> None:
    await queue.insert([new()])
    [first] = await queue.lease("normal", 1)
    assert await queue.doubt(first, "nobody")
    for _ in range(2):  # whoever leases it dies before the unknown outcome is recorded
        await expire_lease(database)
        [leased] = await queue.lease("normal", 1)
        assert leased.in_doubt
        assert not await queue.doubt(leased, "nobody")  # nor is it sent meanwhile
    assert await queue.settle(
        leased, Outcome("ready", Delivered(origin="smtp"), NOW, outcome_unknown=True), delivered(leased)
    )
    [again] = await queue.lease("normal", 1)
    assert (again.in_doubt, again.outcome_unknown, again.attempt) == (False, True, first.attempt + 1)


async def test_a_parked_delivery_is_not_leased_again(queue: Queue, database: str) -> None:
    await queue.insert([new()])
    [leased] = await queue.lease("normal", 1)
    await queue.doubt(leased, "nobody")
    await queue.settle(leased, Outcome("parked", Delivered(origin="smtp"), outcome_unknown=True), delivered(leased))
    await expire_lease(database)
    assert await queue.lease("normal", 1) == []


@pytest.mark.parametrize(("app", "seen"), [(None, True), ("app", True), ("another", False)])
async def test_a_suppression_between_lease_and_final_dot_is_seen(
    queue: Queue, database: str, app: str | None, seen: bool
) -> None:
    await queue.insert([new()])
    [leased] = await queue.lease("normal", 1)
    evidence = Evidence(uuid7(), "added", NOW, app, reason="manual", by="ann")
    async with postgres.connected(database, "sender") as pool:
        await Suppressions(pool).learn([Learnt("key", leased.recipient, evidence)])
    found = await queue.suppression(leased.message_id, "key")
    assert (found is not None) == seen
    assert await queue.doubt(leased, "key") == (not seen)


async def test_the_body_goes_when_all_deliveries_are_done(queue: Queue, database: str) -> None:
    await queue.insert([new(recipients=2)])
    connection = await asyncpg.connect(database)
    for left in (1, 0):
        [leased] = await queue.lease("normal", 1)
        await queue.settle(leased, Outcome("done", Delivered(origin="smtp")), delivered(leased))
        assert await connection.fetchval("SELECT count(body) FROM requests") == left
    await connection.close()


async def test_what_was_not_published_stays_in_the_outbox(queue: Queue) -> None:
    await queue.insert([new()])
    with pytest.raises(ZeroDivisionError):
        async with queue.outbox(10):
            raise ZeroDivisionError
    assert len(await outbox(queue)) == 1
    assert await outbox(queue) == []


async def test_a_database_that_is_newer_or_altered_refuses_the_start(database: str) -> None:
    async with postgres.connected(database, "sender"):
        pass
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO migrations (name, checksum) VALUES ('999_future.sql', 'x')")
    with pytest.raises(Unavailable, match="newer than this version"):
        async with postgres.connected(database, "sender"):
            pass
    await connection.execute("DELETE FROM migrations WHERE name LIKE '999%'; UPDATE migrations SET checksum = 'x'")
    with pytest.raises(Unavailable, match="was changed after it was applied"):
        async with postgres.connected(database, "sender"):
            pass
    await connection.close()
