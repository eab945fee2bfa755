"""The outbound queue against a real PostgreSQL: who may send, who may record, in which order; nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sender import housekeeping
from sender.lanes import Lane
from sender.outcome import Outcome
from sender.pacing import Room
from sender.store import Leased, Message, NewDelivery, NewRequest, Queue, Settlement
from tracepost import events, postgres
from tracepost.events import Accepted, Bounced, Deferred, Delivered, event
from tracepost.postgres import Pool
from tracepost.runner import Unavailable

NOW = datetime.now(UTC)
ALL = Room((), {}, 1_000)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with postgres.connected(database, "sender") as pool:
        await housekeeping.begin(pool, retention=2)
        yield pool


@pytest.fixture
def queue(pool: Pool) -> Queue:
    return Queue(pool, lease=timedelta(minutes=10), doubt=timedelta(minutes=15))


def new(
    recipients: int = 1,
    digest: bytes = b"d",
    message_id: UUID | None = None,
    destination: str = "example.test",
    lane: Lane = "normal",
    due_at: datetime = NOW,
) -> NewRequest:
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
        message=Message(b"{}", NOW),
        traceparent=None,
        lane=lane,
        deliveries=[NewDelivery(f"r{n}@{destination}", destination, f"key-{n}") for n in range(recipients)],
        due_at=due_at,
        expires_at=NOW + timedelta(days=3),
        park_unknown=False,
        accepted=[event("sender", message_id, number, accepted) for number in range(recipients)],
    )


async def lease(queue: Queue, count: int = 1, lane: Lane = "normal", room: Room = ALL) -> list[Leased]:
    return await queue.lease(lane, count, room)


async def one(queue: Queue) -> Leased:
    [leased] = await lease(queue)
    return leased


async def outbox(queue: Queue) -> list[str]:
    async with queue.outbox(1000) as found:
        return [f"{each.name} {events.decode(each.body).subject}" for each in found]


def delivered(leased: Leased) -> Settlement:
    return told(leased, Outcome("done", Delivered(origin="smtp")), final=True)


def told(leased: Leased, outcome: Outcome, *, final: bool = False) -> Settlement:
    return Settlement(leased, outcome, event("sender", *leased.key, outcome.data), final)


def deferred(*, parked: bool = False, unknown: bool = True) -> Outcome:
    data = Deferred(bounce_class="soft", category="network", origin="smtp", parked=parked, outcome_unknown=unknown)
    return Outcome("parked" if parked else "waiting", data, None if parked else NOW, unknown, "said")


BOUNCED = Bounced(bounce_class="hard", category="invalid_recipient", origin="smtp")


async def pass_time(pool: Pool) -> None:
    """Let every lease, doubt and wait run out."""
    await pool.execute("UPDATE deliveries SET due_at = now() - interval '1 second' WHERE state <> 'done'")


async def lose_lease(queue: Queue, pool: Pool) -> None:
    await pass_time(pool)
    await queue.wake(100)


async def states(pool: Pool) -> Counter[str]:
    return Counter(row[0] for row in await pool.fetch("SELECT state::text FROM deliveries"))


async def test_a_request_is_inserted_once_with_its_events(queue: Queue) -> None:
    request = new(recipients=3)
    assert await queue.insert([request]) == ({}, [])
    assert await queue.insert([request]) == ({request.message_id: b"d"}, [])
    assert await outbox(queue) == [f"accepted {request.message_id}/{number}" for number in range(3)]
    assert len(await lease(queue, 10)) == 3


async def test_a_hundred_racing_copies_are_one_request(queue: Queue) -> None:
    request = new()
    await asyncio.gather(*(queue.insert([request]) for _ in range(100)))
    assert len(await outbox(queue)) == 1
    assert len(await lease(queue, 10)) == 1


async def test_racing_leases_share_no_delivery(queue: Queue) -> None:
    await queue.insert([new() for _ in range(60)])
    shares: Sequence[list[Leased]] = await asyncio.gather(*(lease(queue, 10) for _ in range(8)))
    keys = [each.key for share in shares for each in share]
    assert len(keys) == len(set(keys)) == 60


async def test_lanes_are_leased_apart(queue: Queue) -> None:
    await queue.insert([new()])
    assert await lease(queue, 10, "bulk") == []


async def test_destinations_share_evenly(queue: Queue) -> None:
    await queue.insert([new(destination="large.test") for _ in range(50)])
    await queue.insert([new(destination=f"small{number}.test") for number in range(4)])
    leased = await lease(queue, 10)
    assert Counter(each.destination for each in leased)["large.test"] <= 2
    assert {each.destination for each in leased} >= {f"small{number}.test" for number in range(4)}


async def test_the_longest_ready_goes_first(queue: Queue) -> None:
    late, early = new(due_at=NOW - timedelta(minutes=1)), new(due_at=NOW - timedelta(minutes=2))
    await queue.insert([late, early])
    assert [(await one(queue)).message_id for _ in range(2)] == [early.message_id, late.message_id]


async def test_what_has_no_room_is_left_where_it_is(queue: Queue) -> None:
    for destination in ("closed.test", "open.test", "small.test"):
        await queue.insert([new(destination=destination) for _ in range(9)])
    leased = await lease(queue, 100, room=Room(["closed.test"], {"small.test": 2}, 5))
    assert Counter(each.destination for each in leased) == {"open.test": 5, "small.test": 2}


async def test_more_destinations_than_are_looked_at_come_in_turn(queue: Queue) -> None:
    await queue.insert([new(destination=f"d{number:03}.test") for number in range(250)])
    first = await lease(queue, 150)
    second = await queue.lease("normal", 150, ALL, max(each.destination for each in first))
    assert (len(first), len(second)) == (150, 100)


@pytest.mark.parametrize("paused", ["example.test", "*"])
async def test_what_is_paused_is_not_leased(queue: Queue, pool: Pool, paused: str) -> None:
    await queue.insert([new()])
    await pool.execute("INSERT INTO pauses (destination, by, reason) VALUES ($1, 'ann', 'why')", paused)
    assert await lease(queue) == []
    await pool.execute("DELETE FROM pauses")
    assert await lease(queue)


async def test_what_is_for_later_waits(queue: Queue, pool: Pool) -> None:
    await queue.insert([new(due_at=NOW + timedelta(hours=1))])
    assert await queue.wake(10) == 0
    assert await lease(queue) == []
    await pass_time(pool)
    assert await queue.wake(10) == 1
    assert (await one(queue)).attempt == 1


async def test_what_has_expired_ends_though_it_is_paused(queue: Queue, pool: Pool) -> None:
    await queue.insert([new(), new()])
    await pool.execute("INSERT INTO pauses (destination, by, reason) VALUES ('*', 'ann', 'why')")
    assert await queue.overdue(10) == []
    await pool.execute("UPDATE deliveries SET expires_at = now()")
    assert [each.attempt for each in await queue.overdue(10)] == [0, 0]
    assert await queue.overdue(10) == []


async def test_a_renewed_lease_is_kept(queue: Queue, pool: Pool) -> None:
    await queue.insert([new()])
    leased = await one(queue)
    await pass_time(pool)
    await queue.renew([leased])
    assert await queue.wake(10) == 0
    assert await queue.doubt([leased]) == [True]


async def test_a_lost_lease_is_fenced_off(queue: Queue, pool: Pool) -> None:
    await queue.insert([new()])
    slow = await one(queue)
    await lose_lease(queue, pool)
    quick = await one(queue)
    assert quick.fence > slow.fence
    await queue.renew([slow])
    assert await queue.doubt([slow]) == [False]
    assert await queue.settle([told(slow, deferred())]) == [False]
    assert await queue.doubt([quick]) == [True]
    assert await queue.doubt([quick]) == [False]  # the final dot may be sent once
    assert await queue.settle([delivered(quick)]) == [True]
    assert [name.split()[0] for name in await outbox(queue)] == ["accepted", "delivered"]


async def test_no_reply_in_time_is_an_unknown_outcome(queue: Queue, pool: Pool) -> None:
    await queue.insert([new()])
    first = await one(queue)
    await queue.doubt([first])
    for _ in range(2):  # whoever takes it over dies before the unknown outcome is recorded
        await pass_time(pool)
        assert await queue.wake(10) == 0
        [unknown] = await queue.doubtful(10)
        assert (unknown.in_doubt, unknown.outcome_unknown, unknown.attempt) == (True, True, first.attempt)
        assert await queue.doubt([unknown]) == [False]  # nor is it sent meanwhile
    assert await queue.settle([told(unknown, deferred())]) == [True]
    await queue.wake(10)
    again = await one(queue)
    assert (again.in_doubt, again.outcome_unknown, again.attempt) == (False, True, first.attempt + 1)


@pytest.mark.parametrize("retry", ["waits", "is ready", "is leased"])
@pytest.mark.parametrize("outcome", [Outcome("done", Delivered(origin="smtp")), Outcome("done", BOUNCED)])
async def test_a_late_reply_calls_the_next_attempt_off(queue: Queue, pool: Pool, retry: str, outcome: Outcome) -> None:
    await queue.insert([new()])
    slow = await one(queue)
    await queue.doubt([slow])
    await pass_time(pool)
    await queue.settle([told(each, deferred()) for each in await queue.doubtful(1)])
    if retry != "waits":
        await queue.wake(10)
    leased = await lease(queue) if retry == "is leased" else []
    assert await queue.settle([told(slow, outcome, final=True)]) == [True]
    assert await queue.doubt(leased) == [False] * len(leased) if leased else True
    await lose_lease(queue, pool)
    assert await lease(queue) == []
    assert await states(pool) == {"done": 1}


@pytest.mark.parametrize("parked", [False, True])
async def test_a_late_success_ends_it_after_the_attempt_that_is_in_doubt(
    queue: Queue, pool: Pool, parked: bool
) -> None:
    slow, again = await overtaken(queue, pool)
    assert await queue.settle([delivered(slow)]) == [True]
    assert await states(pool) == {"in_doubt": 1}
    assert await queue.settle([told(again, deferred(parked=parked))]) == [True]
    assert await states(pool) == {"done": 1}
    names = [name.split()[0] for name in await outbox(queue)]
    assert names == ["accepted", "deferred", "delivered", "deferred"]


async def test_a_late_refusal_leaves_it_to_the_attempt_that_is_in_doubt(queue: Queue, pool: Pool) -> None:
    slow, again = await overtaken(queue, pool)
    assert await queue.settle([told(slow, Outcome("done", BOUNCED), final=True)]) == [False]
    assert await queue.settle([delivered(again)]) == [True]
    assert [name.split()[0] for name in await outbox(queue)] == ["accepted", "deferred", "delivered"]


async def overtaken(queue: Queue, pool: Pool) -> tuple[Leased, Leased]:
    """An attempt whose reply is late, and the next one, in doubt itself."""
    await queue.insert([new()])
    slow = await one(queue)
    await queue.doubt([slow])
    await pass_time(pool)
    await queue.settle([told(each, deferred()) for each in await queue.doubtful(1)])
    await queue.wake(10)
    again = await one(queue)
    assert await queue.doubt([again]) == [True]
    return slow, again


async def test_a_parked_delivery_is_not_leased_again(queue: Queue, pool: Pool) -> None:
    await queue.insert([new()])
    leased = await one(queue)
    await queue.doubt([leased])
    await queue.settle([told(leased, deferred(parked=True))])
    await lose_lease(queue, pool)
    assert await lease(queue) == []
    assert await states(pool) == {"parked": 1}


async def test_the_body_goes_when_all_deliveries_are_done(queue: Queue, pool: Pool) -> None:
    await queue.insert([new(recipients=4)])
    leased = await lease(queue, 4)
    for done, left in ((leased[:1], 1), (leased[1:3], 1), (leased[3:], 0)):
        assert await queue.settle([delivered(each) for each in done]) == [True] * len(done)
        assert await pool.fetchval("SELECT count(body) FROM requests") == left


async def test_racing_settlements_drop_the_body_too(queue: Queue, pool: Pool) -> None:
    await queue.insert([new(recipients=20)])
    leased = await lease(queue, 20)
    await asyncio.gather(*(queue.settle([delivered(each)]) for each in leased))
    assert tuple(await pool.fetchrow("SELECT open, body FROM requests") or ()) == (0, None)


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


def claimed(request: NewRequest) -> NewRequest:
    """The same with a claim for every delivery."""
    return replace(request, deliveries=[each._replace(claimed=True) for each in request.deliveries])


ROWS = "SELECT recipient_no, app, recipient, destination, address_key, lane, state, attempt, fence FROM deliveries"


async def test_what_is_leased_as_it_arrives_is_as_if_it_had_been_leased_after(queue: Queue, pool: Pool) -> None:
    first, second = claimed(new(recipients=2)), new(recipients=2)
    known, at_once = await queue.insert([first])
    rows = set(await pool.fetch(ROWS))
    await queue.insert([second])
    after = await lease(queue, 2)
    assert known == {}
    for one, other in zip(sorted(at_once, key=key), sorted(after, key=key), strict=True):
        assert one.message is first.message
        assert replace(one, message_id=other.message_id, message=other.message) == other
    assert set(await pool.fetch(f"{ROWS} WHERE message_id = $1", second.message_id)) == rows
    assert await queue.doubt(at_once) == [True, True]
    assert await queue.settle([delivered(each) for each in at_once]) == [True, True]


def key(leased: Leased) -> tuple[UUID, int]:
    return leased.key


async def test_a_request_that_is_there_already_is_not_leased_again(queue: Queue) -> None:
    request = claimed(new())
    taken = await asyncio.gather(*(queue.insert([request]) for _ in range(20)))
    assert sum(len(each.leased) for each in taken) == 1


@pytest.mark.parametrize("paused", ["example.test", "*"])
async def test_what_is_paused_is_not_leased_as_it_arrives(queue: Queue, pool: Pool, paused: str) -> None:
    await pool.execute("INSERT INTO pauses (destination, by, reason) VALUES ($1, 'ann', 'because')", paused)
    assert (await queue.insert([claimed(new())])).leased == []
    assert await states(pool) == {"ready": 1}


async def suppress_second(pool: Pool) -> None:
    await pool.execute("INSERT INTO suppression_addresses (address_key) VALUES ('key-1')")
    await pool.execute(
        """WITH evidence AS (
            INSERT INTO suppression_evidence (address_key, id, kind, at)
            VALUES ('key-1', gen_random_uuid(), 'manual', now()) RETURNING id
        )
        INSERT INTO suppressions (address_key, reason, since, evidence)
        SELECT 'key-1', 'manual', now(), id FROM evidence"""
    )


async def test_whoever_leases_learns_why_an_address_is_not_to_be_written_to(queue: Queue, pool: Pool) -> None:
    await suppress_second(pool)
    at_once = (await queue.insert([claimed(new(recipients=2))])).leased
    await queue.insert([new(recipients=2)])
    for found in (at_once, await lease(queue, 2)):
        assert {each.recipient_no: each.suppressed and each.suppressed.reason for each in found} == {
            0: None,
            1: "manual",
        }


async def test_a_suppressed_address_is_written_to_when_the_request_overrides_that(queue: Queue, pool: Pool) -> None:
    await suppress_second(pool)
    overriding = replace(new(recipients=2), overrides=True)
    at_once = (await queue.insert([claimed(replace(new(recipients=2), overrides=True))])).leased
    await queue.insert([overriding])
    for found in (at_once, await lease(queue, 2)):
        assert [each.suppressed for each in found] == [None, None]
        assert all(each.overrides for each in found)
        assert await queue.doubt(found) == [True, True]
    await queue.insert([claimed(new(recipients=2))])
    await lose_lease(queue, pool)
    others = await lease(queue, 2)
    assert await queue.doubt(others) == [each.suppressed is None for each in others]


async def test_an_override_outlives_retries_and_doubts(queue: Queue, pool: Pool) -> None:
    await queue.insert([replace(new(), overrides=True)])
    await queue.settle([told(await one(queue), deferred())])
    await pass_time(pool)
    await queue.wake(1)
    assert await queue.doubt([again := await one(queue)]) == [True]
    await pass_time(pool)
    [doubted] = await queue.doubtful(1)
    assert (again.overrides, doubted.overrides) == (True, True)
