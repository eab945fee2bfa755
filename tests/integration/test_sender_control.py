"""The queue's API against a real PostgreSQL: who sees what, what a change does in each state, and who wins a race."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from uuid_utils.compat import uuid7

from sender import control, housekeeping
from sender.control_store import ALONG_INDEXES, Control
from sender.lanes import Lane
from sender.outcome import Outcome
from sender.pacing import Room
from sender.store import Leased, Message, NewDelivery, NewRequest, Queue, Settlement
from tracepost import events, keys, postgres
from tracepost.events import Accepted, AnyEvent, Bounced, Cancelled, Deferred, Delivered, event
from tracepost.http import problems
from tracepost.postgres import Pool

ALL, SHOP, OTHER, READER, DESK = (keys.new(name) for name in ("all", "shop", "other", "reader", "desk"))
CLIENTS = [
    {"client": "ann", "app": "*", "scopes": ["read", "operate"], "hashes": [keys.hashed(ALL)]},
    {"client": "shop", "app": "shop", "scopes": ["read", "operate"], "hashes": [keys.hashed(SHOP)]},
    {"client": "other", "app": "other", "scopes": ["read", "operate"], "hashes": [keys.hashed(OTHER)]},
    {"client": "reader", "app": "shop", "scopes": ["read"], "hashes": [keys.hashed(READER)]},
    {"client": "desk", "app": "*", "scopes": ["operate"], "hashes": [keys.hashed(DESK)]},
]
ROOM = Room((), {}, 1_000)
STATES = ("ready", "waiting", "leased", "in_doubt", "parked", "done")
Api = TestClient[web.Request, web.Application]


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with postgres.connected(database, "sender") as pool:
        await housekeeping.begin(pool, retention=2)
        yield pool


@pytest.fixture
def queue(pool: Pool) -> Queue:
    return Queue(pool, lease=timedelta(minutes=10), doubt=timedelta(minutes=15))


@pytest.fixture
def woken() -> list[bool]:
    return []


@pytest.fixture
async def client(pool: Pool, woken: list[bool]) -> AsyncIterator[Api]:
    async with serving(pool, woken) as client:
        yield client


@asynccontextmanager
async def serving(pool: Pool, woken: list[bool]) -> AsyncIterator[Api]:
    app = web.Application(middlewares=[problems])
    app.add_routes(control.routes(Control(pool), keys.read(json.dumps(CLIENTS)), lambda: woken.append(True)))
    async with TestClient(TestServer(app)) as client:
        yield client


async def get(client: Api, path: str, key: str = ALL) -> tuple[int, Any]:
    async with client.get(f"/v1/{path}", headers={"Authorization": f"Bearer {key}"}) as answer:
        return answer.status, await answer.json(content_type=None)


async def post(client: Api, path: str, key: str = ALL, **body: Any) -> tuple[int, Any]:
    wish = {"reason": "why", **body}
    async with client.post(f"/v1/{path}", json=wish, headers={"Authorization": f"Bearer {key}"}) as answer:
        return answer.status, await answer.json(content_type=None)


ACCEPTED = Accepted(
    recipient="ann0@example.org",
    recipient_count=1,
    sender="s@example.org",
    subject_line="",
    rfc_message_id="<x@example.org>",
    app="shop",
    track_opens="off",
    has_html=False,
    size=1,
)


async def insert(
    queue: Queue,
    recipients: int = 1,
    *,
    app: str = "shop",
    destination: str = "example.org",
    lane: Lane = "normal",
    later: timedelta = timedelta(),
    park: bool = False,
) -> UUID:
    message_id, due = uuid7(), datetime.now(UTC) + later
    deliveries = [NewDelivery(f"ann{n}@{destination}", destination, f"key-{n}") for n in range(recipients)]
    expires = due + timedelta(days=3)
    accepted = [event("sender", message_id, 0, ACCEPTED)]
    await queue.insert(
        [
            NewRequest(
                message_id,
                b"d",
                app,
                Message(b"{}", due),
                None,
                lane,
                deliveries,
                due,
                expires,
                park,
                accepted=accepted,
            )
        ]
    )
    return message_id


async def lease(queue: Queue, count: int = 1) -> list[Leased]:
    return await queue.lease("normal", count, ROOM)


def settlement(leased: Leased, outcome: Outcome) -> Settlement:
    told = event("sender", *leased.key, outcome.data)
    return Settlement(leased, outcome, told, final=outcome.state == "done")


DELIVERED = Outcome("done", Delivered(origin="smtp"))
LOST = Deferred(bounce_class="soft", category="network", origin="smtp", outcome_unknown=True)
PARKED = Outcome("parked", LOST, outcome_unknown=True, said="no reply")


async def in_state(queue: Queue, state: str) -> UUID:
    """A message of one delivery that has come to that state."""
    message_id = await insert(queue, later=timedelta(hours=state == "waiting"))
    if state in ("ready", "waiting"):
        return message_id
    leased = await lease(queue)
    if state != "leased":
        await queue.doubt(leased)
    if state in ("parked", "done"):
        await queue.settle([settlement(leased[0], PARKED if state == "parked" else DELIVERED)])
    return message_id


async def outbox(queue: Queue) -> list[AnyEvent]:
    async with queue.outbox(10_000) as found:
        told = [events.decode(each.body) for each in found]
    return [each for each in told if each.name != "accepted"]


async def state(pool: Pool, message_id: UUID, number: int = 0) -> str:
    found = await pool.fetchval(
        "SELECT state::text FROM deliveries WHERE message_id = $1 AND recipient_no = $2", message_id, number
    )
    return str(found)


async def left(pool: Pool, message_id: UUID) -> tuple[int, bool]:
    row = await pool.fetchrow("SELECT open, body IS NOT NULL FROM requests WHERE message_id = $1", message_id)
    assert row is not None
    return row[0], row[1]


CANCELLED = {"in_doubt": "too_late", "done": "done_before"}


@pytest.mark.parametrize("before", STATES)
async def test_cancel_in_each_state(client: Api, queue: Queue, pool: Pool, before: str) -> None:
    message_id = await in_state(queue, before)
    await outbox(queue)
    status, told = await post(client, f"messages/{message_id}/cancel", reason=" wrong person ")
    expected = CANCELLED.get(before, "cancelled")
    assert (status, told["recipients"]) == (200, [{"recipient_no": 0, "result": expected}])
    assert await state(pool, message_id) == (before if expected == "too_late" else "done")
    assert await left(pool, message_id) == ((1, True) if expected == "too_late" else (0, False))
    found = await outbox(queue)
    assert [(each.name, each.data) for each in found] == (
        [("cancelled", Cancelled(by="ann", reason="wrong person"))] if expected == "cancelled" else []
    )
    again = await post(client, f"messages/{message_id}/cancel")
    assert again[1]["recipients"][0]["result"] == CANCELLED.get(before, "done_before")
    assert await outbox(queue) == []
    assert await pool.fetchval("SELECT count(*) FROM decisions") == (expected == "cancelled")


async def test_cancel_of_some_recipients_leaves_the_others(client: Api, queue: Queue, pool: Pool) -> None:
    message_id = await insert(queue, 4)
    _, told = await post(client, f"messages/{message_id}/cancel", recipients=[2, 0, 2])
    assert told["recipients"] == [{"recipient_no": n, "result": "cancelled"} for n in (0, 2)]
    assert await left(pool, message_id) == (2, True)
    _, told = await post(client, f"messages/{message_id}/cancel")
    assert [each["result"] for each in told["recipients"]] == ["done_before", "cancelled"] * 2
    assert await left(pool, message_id) == (0, False)
    assert [each.recipient_no for each in await outbox(queue)] == [0, 2, 1, 3]
    [second, first] = (await get(client, "decisions"))[1]["decisions"]
    assert (first["recipients"], second["recipients"]) == ([0, 2], [1, 3])


async def test_a_recipient_that_is_not_there_stops_the_whole_change(client: Api, queue: Queue, pool: Pool) -> None:
    message_id = await insert(queue, 2)
    status, told = await post(client, f"messages/{message_id}/cancel", recipients=[0, 2, 9])
    assert (status, told["code"]) == (404, "unknown-recipient")
    assert "2, 9" in told["detail"]
    assert await state(pool, message_id) == "ready"


async def test_what_is_cancelled_is_not_sent(client: Api, queue: Queue) -> None:
    message_id = await insert(queue)
    leased = await lease(queue)
    await post(client, f"messages/{message_id}/cancel")
    assert await queue.doubt(leased) == [False]
    assert await queue.settle([settlement(leased[0], DELIVERED)]) == [False]
    assert await lease(queue) == []


async def test_a_doubt_and_a_cancel_at_once_have_one_winner(client: Api, queue: Queue, pool: Pool) -> None:
    won = {"doubt": 0, "cancel": 0}
    for _ in range(150):
        message_id = await insert(queue, 4)
        leased = await lease(queue, 4)
        (status, told), *doubts = await asyncio.gather(
            post(client, f"messages/{message_id}/cancel"), *(queue.doubt([each]) for each in leased)
        )
        assert status == 200
        cancelled = {each["recipient_no"]: each["result"] == "cancelled" for each in told["recipients"]}
        for each, [doubted] in zip(leased, doubts, strict=True):
            assert doubted != cancelled[each.recipient_no]
            won["doubt" if doubted else "cancel"] += 1
        held = [settlement(each, DELIVERED) for each in leased if not cancelled[each.recipient_no]]
        assert all(await queue.settle(held)) if held else True
        assert await left(pool, message_id) == (0, False)
        told_names = sorted(each.name for each in await outbox(queue))
        assert told_names == sorted("cancelled" if each else "delivered" for each in cancelled.values())
    assert won["doubt"] > 0, won
    assert won["cancel"] > 0, won


async def test_batches_that_lock_in_another_order_do_not_stop_a_cancel(client: Api, queue: Queue, pool: Pool) -> None:
    message_id = await insert(queue, 2)
    async with pool.acquire() as connection, connection.transaction():
        lock = "SELECT FROM deliveries WHERE message_id = $1 AND recipient_no = $2 FOR UPDATE"
        await connection.execute("SET LOCAL deadlock_timeout = '20s'")  # so that it is the other that is ended
        await connection.execute(lock, message_id, 1)
        asked = asyncio.create_task(post(client, f"messages/{message_id}/cancel"))
        while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        await connection.execute(lock, message_id, 0)
    assert [each["result"] for each in (await asked)[1]["recipients"]] == ["cancelled", "cancelled"]


async def test_racing_cancels_tell_one_event(client: Api, queue: Queue, pool: Pool) -> None:
    message_id = await insert(queue, 3)
    answers = await asyncio.gather(*(post(client, f"messages/{message_id}/cancel") for _ in range(20)))
    results = [each["result"] for _, told in answers for each in told["recipients"]]
    assert (results.count("cancelled"), results.count("done_before")) == (3, 57)
    assert len(await outbox(queue)) == 3
    assert await left(pool, message_id) == (0, False)
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 1


async def test_settlements_and_a_cancel_at_once_leave_no_body(client: Api, queue: Queue, pool: Pool) -> None:
    for _ in range(30):
        message_id = await insert(queue, 4)
        leased = await lease(queue, 4)
        await queue.doubt(leased[:2])
        await asyncio.gather(
            post(client, f"messages/{message_id}/cancel"),
            *(queue.settle([settlement(each, DELIVERED)]) for each in leased[:2]),
        )
        assert await left(pool, message_id) == (0, False)


@pytest.mark.parametrize(
    ("before", "status", "said", "after"),
    [
        ("ready", 200, "ready_before", "ready"),
        ("waiting", 200, "ready", "ready"),
        ("leased", 200, "under_way", "leased"),
        ("in_doubt", 409, "in-doubt", "in_doubt"),
        ("parked", 200, "ready", "ready"),
        ("done", 409, "done", "done"),
    ],
)
async def test_retry_in_each_state(
    client: Api, queue: Queue, pool: Pool, woken: list[bool], before: str, status: int, said: str, after: str
) -> None:
    message_id = await in_state(queue, before)
    answer, told = await post(client, f"deliveries/{message_id}/0/retry")
    assert (answer, told.get("result") or told["code"]) == (status, said)
    assert told.get("second_copy_possible", False) == (before == "parked")
    assert bool(told.get("detail")) == (status == 409 or before == "parked")
    assert await state(pool, message_id) == after
    assert len(await lease(queue)) == (after == "ready")
    assert bool(woken) == (said == "ready")
    assert await pool.fetchval("SELECT count(*) FROM decisions") == (said == "ready")


async def test_a_retry_keeps_what_is_known_and_is_fenced_like_any_attempt(client: Api, queue: Queue) -> None:
    message_id = await in_state(queue, "parked")
    await post(client, f"deliveries/{message_id}/0/retry")
    [again] = await lease(queue)
    assert (again.attempt, again.fence, again.outcome_unknown) == (2, 2, True)
    assert (await post(client, f"deliveries/{message_id}/0/retry"))[1]["result"] == "under_way"


@pytest.mark.parametrize("before", ["waiting", "parked"])
async def test_what_has_expired_is_not_tried_again(client: Api, queue: Queue, pool: Pool, before: str) -> None:
    message_id = await in_state(queue, before)
    await pool.execute("UPDATE deliveries SET expires_at = now() - interval '1 s'")
    status, told = await post(client, f"deliveries/{message_id}/0/retry")
    assert (status, told["code"]) == (409, "expired")
    assert "give it up" in told["detail"]
    assert await state(pool, message_id) == before
    assert (await post(client, f"deliveries/{message_id}/0/give-up"))[1]["result"] == "given_up"


@pytest.mark.parametrize("before", STATES)
async def test_give_up_in_each_state(client: Api, queue: Queue, pool: Pool, before: str) -> None:
    message_id = await in_state(queue, before)
    await outbox(queue)
    status, told = await post(client, f"deliveries/{message_id}/0/give-up", reason="gone")
    if before == "in_doubt":
        assert (status, told["code"]) == (409, "in-doubt")
        assert await left(pool, message_id) == (1, True)
        return
    assert (status, told["result"]) == (200, "done_before" if before == "done" else "given_up")
    assert await left(pool, message_id) == (0, False)
    given_up = Bounced(
        attempt=0 if before in ("ready", "waiting") else 1,
        diagnostic="given up by ann: gone",
        bounce_class="soft",
        category="expired",
        rule="given-up",
        origin="api",
        outcome_unknown=before == "parked",
    )
    assert [each.data for each in await outbox(queue)] == ([given_up] if before != "done" else [])
    assert (await post(client, f"deliveries/{message_id}/0/give-up"))[1]["result"] == "done_before"
    assert await outbox(queue) == []


@pytest.mark.parametrize("named", ["*", " Bücher.Example "])
async def test_a_pause_holds_up_and_a_resume_lets_go(
    client: Api, queue: Queue, pool: Pool, woken: list[bool], named: str
) -> None:
    await insert(queue, destination="xn--bcher-kva.example")
    status, told = await post(client, "pauses", destination=named, reason="they asked")
    pause = told["pause"]
    assert (status, told["result"], pause["by"], pause["reason"]) == (200, "paused", "ann", "they asked")
    assert pause["destination"] == ("*" if named == "*" else "xn--bcher-kva.example")
    assert await lease(queue) == []
    again = await post(client, "pauses", DESK, destination=named, reason="me too")
    assert again == (200, {"result": "paused_before", "pause": pause})
    assert (await get(client, "pauses", SHOP))[1] == {"pauses": [pause], "cursor": None}
    assert (await get(client, "queue", SHOP))[1]["pauses"] == [pause]
    assert not woken
    ended = await post(client, "pauses/resume", destination=named)
    assert ended == (200, {"result": "resumed", "pause": pause})
    assert woken
    assert await post(client, "pauses/resume", destination=named) == (200, {"result": "not_paused", "pause": None})
    assert len(await lease(queue)) == 1
    journal = (await get(client, "decisions", SHOP))[1]["decisions"]
    assert [(each["what"], each["by"], each["reason"]) for each in journal] == [
        ("resume", "ann", "why"),
        ("pause", "ann", "they asked"),
    ]


async def test_what_is_under_way_ends_though_its_destination_is_paused(client: Api, queue: Queue) -> None:
    await insert(queue)
    leased = await lease(queue)
    await post(client, "pauses", destination="example.org")
    assert await queue.doubt(leased) == [True]
    assert await queue.settle([settlement(leased[0], DELIVERED)]) == [True]


async def test_a_retry_says_that_its_destination_is_paused(client: Api, queue: Queue) -> None:
    message_id = await in_state(queue, "waiting")
    await post(client, "pauses", destination="example.org")
    _, told = await post(client, f"deliveries/{message_id}/0/retry")
    assert (told["result"], told["paused"]) == ("ready", True)
    assert await lease(queue) == []


async def test_racing_pauses_and_resumes_agree_with_the_journal(client: Api, pool: Pool) -> None:
    paths = ["pauses", "pauses/resume"] * 20
    answers = await asyncio.gather(*(post(client, path, destination="example.org") for path in paths))
    results = [told["result"] for _, told in answers]
    assert {status for status, _ in answers} == {200}
    still = await pool.fetchval("SELECT count(*) FROM pauses")
    assert results.count("paused") - results.count("resumed") == still
    changes = results.count("paused") + results.count("resumed")
    assert await pool.fetchval("SELECT count(*) FROM decisions") == changes


CHANGES = ["messages/{}/cancel", "deliveries/{}/0/retry", "deliveries/{}/0/give-up"]


@pytest.mark.parametrize("path", CHANGES)
async def test_a_message_is_changed_by_its_app_alone(client: Api, queue: Queue, pool: Pool, path: str) -> None:
    asked = {}
    for key in (OTHER, READER, "none", SHOP, DESK):
        message_id = await in_state(queue, "waiting")
        asked[key] = (await post(client, path.format(message_id), key))[0]
        assert (await state(pool, message_id) == "waiting") == (asked[key] != 200)
    assert list(asked.values()) == [404, 403, 401, 200, 200]


@pytest.mark.parametrize("path", ["pauses", "pauses/resume"])
async def test_pauses_are_for_those_who_answer_for_every_app(client: Api, pool: Pool, path: str) -> None:
    answers = [await post(client, path, key, destination="*") for key in (SHOP, READER, "none", DESK)]
    assert [status for status, _ in answers] == [403, 403, 401, 200]
    assert "every app" in answers[0][1]["detail"]


LOOKS = ["queue", "queue/destinations", "queue/deliveries", "pauses", "decisions"]


@pytest.mark.parametrize("path", LOOKS)
async def test_who_may_look(client: Api, path: str) -> None:
    answers = [(await get(client, path, key))[0] for key in (ALL, READER, DESK, "none")]
    assert answers == [200, 200, 403, 401]


async def test_each_app_sees_its_own(client: Api, queue: Queue) -> None:
    mine, theirs = await insert(queue, app="shop"), await insert(queue, app="other")
    for key, seen, other in ((SHOP, mine, theirs), (OTHER, theirs, mine)):
        _, told = await get(client, "queue", key)
        assert sum(each["count"] for each in told["totals"]) == 1
        [destination] = (await get(client, "queue/destinations", key))[1]["destinations"]
        assert destination["ready"] == 1
        [delivery] = (await get(client, "queue/deliveries", key))[1]["deliveries"]
        assert delivery["message_id"] == str(seen)
        assert (await get(client, f"queue/messages/{seen}", key))[0] == 200
        assert (await get(client, f"queue/messages/{other}", key))[1]["code"] == "unknown-message"
        await post(client, f"messages/{seen}/cancel", key)
        assert [each["target"] for each in (await get(client, "decisions", key))[1]["decisions"]] == [str(seen)]
    assert len((await get(client, "decisions"))[1]["decisions"]) == 2


async def test_totals_and_destinations_count_each_state(client: Api, queue: Queue) -> None:
    for each in STATES:
        await in_state(queue, each)
    for number in range(3):
        await insert(queue, destination="large.test", lane="bulk", later=-timedelta(minutes=number))
    await post(client, "pauses", destination="large.test", reason="why not")
    _, told = await get(client, "queue")
    counts = {(each["lane"], each["state"]): each["count"] for each in told["totals"]}
    expected = {("normal", each): 1 for each in STATES[:-1]} | {("bulk", each): 0 for each in STATES[:-1]}
    assert counts == expected | {("bulk", "ready"): 3}
    assert not any(each["at_least"] for each in told["totals"])
    assert 120 <= told["oldest_ready_seconds"] < 150
    _, told = await get(client, "queue/destinations?limit=2")
    assert told["complete"]
    large, small = told["destinations"]
    assert (large["destination"], large["ready"], large["pause"]["reason"]) == ("large.test", 3, "why not")
    assert 120 <= large["oldest_ready_seconds"] < 150
    assert (small["destination"], small["ready"], small["waiting"], small["under_way"]) == ("example.org", 1, 1, 2)
    assert small["pause"] is None
    assert len((await get(client, "queue/destinations?limit=1"))[1]["destinations"]) == 1


async def test_counts_that_reach_their_bounds_say_so(
    client: Api, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, bound in (
        ("control", "COUNTED", 3),
        ("control_store", "COUNTED", 3),
        ("control_store", "OF_EACH", 2),
    ):
        monkeypatch.setattr(f"sender.{module}.{name}", bound)
    await insert(queue)
    await insert(queue, 5, destination="large.test", lane="bulk", later=-timedelta(minutes=3))
    told = (await get(client, "queue"))[1]
    found = [each for each in told["totals"] if each["state"] == "ready"]
    assert [(each["lane"], each["count"], each["at_least"]) for each in found] == [
        ("normal", 1, False),
        ("bulk", 3, True),
    ]
    assert told["oldest_ready_seconds"] >= 180
    told = (await get(client, "queue/destinations"))[1]
    assert [(each["destination"], each["ready"]) for each in told["destinations"]] == [
        ("large.test", 2),
        ("example.org", 1),
    ]
    assert not told["complete"]


LOOK = datetime.now(UTC), UUID(int=0), 0


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("totals", (100, None)),
        ("oldest_ready", (100,)),
        ("destinations", (100, 100, 100, None, 20)),
        ("look_ready", ("bulk", "d.test", *LOOK, 100)),
        ("look_ready_to", ("bulk", "d.test", *LOOK, 100)),
        ("look_timed", (*LOOK, 100)),
        ("look_parked", (*LOOK[1:], 100)),
    ],
)
async def test_a_look_never_goes_through_a_whole_table(
    pool: Pool, queue: Queue, statement: str, arguments: tuple[object, ...]
) -> None:
    await insert(queue)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(ALONG_INDEXES)
        plan = await connection.fetch(f"EXPLAIN {postgres.load('sender')[statement]}", *arguments)
    steps = [row[0] for row in plan if "deliveries" in row[0] and "Scan" in row[0]]
    assert steps
    assert [step for step in steps if "Index" not in step or "pkey" in step or "Bitmap" in step] == []


async def test_an_empty_queue(client: Api) -> None:
    _, told = await get(client, "queue")
    assert told["oldest_ready_seconds"] is None
    assert not any(each["count"] for each in told["totals"])
    assert (await get(client, "queue/destinations"))[1] == {"destinations": [], "complete": True}
    assert (await get(client, "queue/deliveries"))[1] == {"deliveries": [], "cursor": None}
    assert (await get(client, "decisions"))[1] == {"decisions": [], "cursor": None}


async def test_a_message_whole(client: Api, queue: Queue) -> None:
    message_id = await in_state(queue, "parked")
    _, told = await get(client, f"queue/messages/{message_id}")
    assert (told["app"], told["open"]) == ("shop", 1)
    [delivery] = told["deliveries"]
    assert delivery["recipient"] == "a…@example.org"
    assert (delivery["state"], delivery["attempt"], delivery["said"]) == ("parked", 1, "no reply")
    assert delivery["outcome_unknown"] is True
    assert "app" not in delivery
    await post(client, f"messages/{message_id}/cancel")
    assert (await get(client, f"queue/messages/{message_id}"))[1]["deliveries"][0]["state"] == "done"


async def pages(client: Api, query: str, key: str = ALL) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    cursor = ""
    while True:
        status, told = await get(client, f"queue/deliveries?limit=3{query}{cursor}", key)
        assert status == 200, told
        found += [(each["message_id"], each["recipient_no"]) for each in told["deliveries"]]
        if told["cursor"] is None:
            return found
        cursor = f"&cursor={told['cursor']}"


async def some_of_each(queue: Queue, pool: Pool) -> None:
    """Four of each state (three of what is done) at each of three destinations, in both lanes and for both apps."""
    for number in range(12 * 6):
        destination = f"d{number % 3}.test"
        lane: Lane = "bulk" if number % 2 else "normal"
        await insert(queue, app="other" if number % 4 == 3 else "shop", destination=destination, lane=lane)
    for number, each in enumerate(STATES):
        await pool.execute(
            "WITH n AS (SELECT message_id, row_number() OVER (ORDER BY message_id) AS number FROM deliveries)"
            " UPDATE deliveries d SET state = $1 FROM n WHERE n.message_id = d.message_id AND (n.number - 1) / 12 = $2",
            each,
            number,
        )
    await pool.execute("UPDATE deliveries SET due_at = date_trunc('minute', due_at)")  # many at the same time


async def listed(pool: Pool, where: str) -> set[tuple[str, int]]:
    rows = await pool.fetch(f"SELECT message_id, recipient_no FROM deliveries WHERE state <> 'done' AND {where}")
    return {(str(row[0]), row[1]) for row in rows}


async def test_pages_go_through_all_that_is_not_done_once(
    client: Api, queue: Queue, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.control_store.LOOKED", 5)
    await some_of_each(queue, pool)
    for key, of_app in ((ALL, "true"), (SHOP, "app = 'shop'"), (OTHER, "app = 'other'")):
        for wanted in (None, *STATES[:-1]):
            for destination in (None, "d1.test"):
                query = (f"&state={wanted}" if wanted else "") + (f"&destination={destination}" if destination else "")
                found = await pages(client, query, key)
                assert len(found) == len(set(found))
                of_state = f"state = '{wanted}'" if wanted else "true"
                to = f"destination = '{destination}'" if destination else "true"
                assert set(found) == await listed(pool, f"{of_app} AND {of_state} AND {to}"), query


async def test_pages_of_pauses_and_decisions(client: Api) -> None:
    names = [f"d{number}.test" for number in range(5)]
    for name in names:
        await post(client, "pauses", destination=name)
    for path, wanted in (("pauses", names), ("decisions", names[::-1])):
        found: list[str] = []
        _, told = await get(client, f"{path}?limit=2")
        while told["cursor"]:
            found += [each.get("destination") or each["target"] for each in told[path]]
            _, told = await get(client, f"{path}?limit=2&cursor={told['cursor']}")
        found += [each.get("destination") or each["target"] for each in told[path]]
        assert found == wanted


MESSAGE = UUID(int=7)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"messages/{MESSAGE}/cancel", {}, 404, "unknown-message"),
        (f"messages/{MESSAGE}/cancel", {"recipients": [0]}, 404, "unknown-message"),
        (f"deliveries/{MESSAGE}/0/retry", {}, 404, "unknown-message"),
        (f"deliveries/{MESSAGE}/0/give-up", {}, 404, "unknown-message"),
        ("messages/nonsense/cancel", {}, 400, "invalid-id"),
        (f"deliveries/{MESSAGE}/256/retry", {}, 400, "invalid-number"),
        (f"deliveries/{MESSAGE}/-1/give-up", {}, 400, "invalid-number"),
        (f"messages/{MESSAGE}/cancel", {"reason": "  "}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"reason": "x" * 1001}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"reason": "a\0b"}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"reason": "\ud800"}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"reason": None}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"recipients": []}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"recipients": [256]}, 422, "invalid-request"),
        (f"messages/{MESSAGE}/cancel", {"recipient": [0]}, 422, "invalid-request"),
        ("pauses", {}, 422, "invalid-request"),
        ("pauses", {"destination": "ann@example.org"}, 422, "invalid-request"),
        ("pauses", {"destination": "**"}, 422, "invalid-request"),
        ("pauses", {"destination": "a\0.org"}, 422, "invalid-request"),
    ],
)
async def test_each_fault_of_a_change_is_told(
    client: Api, pool: Pool, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await post(client, path, **body)
    assert (answer[0], answer[1]["code"]) == (status, code), answer
    assert answer[1].get("detail") or answer[1].get("errors")
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 0


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"queue/messages/{MESSAGE}", 404, "unknown-message"),
        ("queue/messages/nonsense", 400, "invalid-id"),
        ("queue/deliveries?state=done", 422, "invalid-request"),
        ("queue/deliveries?limit=501", 422, "invalid-request"),
        ("queue/deliveries?cursor=nonsense", 422, "invalid-request"),
        ("queue/deliveries?cursor=e30=", 422, "invalid-request"),
        ("queue/deliveries?cursor=%FF", 422, "invalid-request"),
        ("queue/deliveries?destination=%00", 422, "invalid-request"),
        ("queue/deliveries?who=ann", 422, "invalid-request"),
        ("queue/destinations?limit=101", 422, "invalid-request"),
        ("pauses?cursor=%00", 422, "invalid-request"),
        ("decisions?cursor=99999999999999999999", 422, "invalid-request"),
    ],
)
async def test_each_fault_of_a_look_is_told(client: Api, path: str, status: int, code: str) -> None:
    answer = await get(client, path)
    assert (answer[0], answer[1]["code"]) == (status, code), answer


async def test_a_queue_that_is_away_is_told(client: Api, pool: Pool) -> None:
    await pool.close()
    for ask in (get(client, "queue"), post(client, f"messages/{MESSAGE}/cancel")):
        status, told = await ask
        assert (status, told["code"]) == (503, "unavailable")
