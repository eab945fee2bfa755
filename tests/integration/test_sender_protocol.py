"""The statements of the queue, each tried in every state: they allow the model's transitions, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

import pytest

from sender import housekeeping, operating
from sender.control_store import Control
from sender.operating import Change, Decision, Held, What
from sender.outcome import Outcome
from sender.store import Leased, Queue, Settlement
from tests.integration.test_sender_queue import ALL, deferred, delivered, new, told
from tests.model.protocol import TRANSITIONS
from tests.model.world import State
from tracepost import postgres
from tracepost.events import Delivered
from tracepost.postgres import Pool
from tracepost.problems import Invalid

PAST, FUTURE = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
DONE = Outcome("done", Delivered(origin="smtp"))
STATES: tuple[State, ...] = get_args(State)
Act = Callable[["Bench"], Awaitable[object]]


class Bench:
    """One delivery, in whatever state it is put."""

    def __init__(self, pool: Pool, leased: Leased) -> None:
        self.pool, self.leased = pool, leased
        self.queue, self.control = Queue(pool, timedelta(hours=1), timedelta(hours=1)), Control(pool)

    async def put(self, state: State, due_at: datetime) -> None:
        """Let it be in this state."""
        await self.pool.execute(
            "UPDATE deliveries SET state = $1, due_at = $2, fence = 2, answered = false", state, due_at
        )
        await self.pool.execute("UPDATE requests SET open = 1")

    async def row(self) -> tuple[State, object]:
        """Its state, and what else a transition may change."""
        [row] = await self.pool.fetch("SELECT state::text, fence, due_at, answered FROM deliveries")
        return cast(State, row[0]), row

    def held(self, fence: int) -> Leased:
        """As who leased it under this fence knows it."""
        known = {name: getattr(self.leased, name) for name in Leased.__slots__}
        return Leased(**known | {"fence": fence})

    async def settle(self, outcome: Outcome) -> None:
        """As who holds the lease."""
        await self.queue.settle([told(self.held(2), outcome)])

    async def late(self) -> None:
        """As who held the lease before."""
        await self.queue.settle([Settlement(self.held(1), *delivered(self.held(1))[1:])])

    async def decide(self, what: What) -> None:
        """As a person; what is refused changes nothing."""
        decision = Decision("ann", what, "because")

        def one(held: Sequence[Held]) -> Change:
            match what:
                case "cancel":
                    return operating.cancel(held, decision)
                case "give-up":
                    return operating.give_up(held, decision)
                case _:
                    return operating.retry(held[0], datetime.now(UTC))

        with suppress(Invalid):
            await self.control.change(self.leased.message_id, [0], one, decision)


# By action: when the delivery is due meanwhile, and the statement.
ACTIONS: Mapping[str, tuple[datetime, Act]] = {
    "due": (PAST, lambda bench: bench.queue.wake(1)),
    "lease": (FUTURE, lambda bench: bench.queue.lease("normal", 1, ALL)),
    "lease_ended": (PAST, lambda bench: bench.queue.wake(1)),
    "doubt": (FUTURE, lambda bench: bench.queue.doubt([bench.held(2)])),
    "doubt under an older fence": (FUTURE, lambda bench: bench.queue.doubt([bench.held(1)])),
    "settle": (FUTURE, lambda bench: bench.settle(DONE)),
    "settle, to wait": (FUTURE, lambda bench: bench.settle(deferred())),
    "settle, to park": (FUTURE, lambda bench: bench.settle(deferred(parked=True))),
    "settle under an older fence": (FUTURE, lambda bench: bench.queue.settle([told(bench.held(1), deferred())])),
    "take_over": (PAST, lambda bench: bench.queue.doubtful(1)),
    "late": (FUTURE, lambda bench: bench.late()),
    "retry_now": (FUTURE, lambda bench: bench.decide("retry")),
    "cancel": (FUTURE, lambda bench: bench.decide("cancel")),
    "give_up": (FUTURE, lambda bench: bench.decide("give-up")),
}


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    async with postgres.connected(database, "sender") as pool:
        await housekeeping.begin(pool, retention=2)
        queue = Queue(pool, timedelta(hours=1), timedelta(hours=1))
        await queue.insert([new(message_id=None)])
        [leased] = await queue.lease("normal", 1, ALL)
        yield Bench(pool, leased)


def test_every_action_of_the_model_is_tried() -> None:
    assert {action for _, action, _ in TRANSITIONS} - {"intake"} <= ACTIONS.keys()


@pytest.mark.parametrize("action", ACTIONS)
async def test_each_statement_moves_what_the_model_moves(bench: Bench, action: str) -> None:
    due_at, act = ACTIONS[action]
    found = set()
    for state in STATES:
        # Only what was in doubt is parked: `decide` asks for nothing else.
        if state == "absent" or (state == "leased" and action == "settle, to park"):
            continue
        await bench.put(state, due_at)
        _, before = await bench.row()
        await act(bench)
        after, row = await bench.row()
        if row != before:
            found.add((state, after))
    allowed = {(before, after) for before, name, after in TRANSITIONS if name == action.partition(",")[0]}
    same = {"due", "lease_ended"}  # one statement does both
    if action in same:
        allowed = {(before, after) for before, name, after in TRANSITIONS if name in same}
    assert found <= allowed, action
    if action == "settle":
        assert found == {("leased", "done"), ("in_doubt", "done")}
    elif "," not in action:
        assert found == allowed
