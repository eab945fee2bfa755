"""The suppression list against a real PostgreSQL: what was learnt, in whatever order and by whomever, counts once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from sender import housekeeping
from sender.feedback import learn
from sender.outcome import Outcome
from sender.pacing import Room
from sender.store import Queue, Settlement
from sender.suppression import Evidence, Kind, entries
from sender.suppression_store import Learnt, Suppressions
from tests.conftest import KEYRING
from tracepost import postgres
from tracepost.events import AnyEvent, Bounced, Complained, Data, Delivered, Erased, RejectionReason, derived_id, event
from tracepost.postgres import Pool
from tracepost.tokens import Keyring

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
WORDS = "550 5.1.1 <ann@example.org>: no such user"
HARD = Bounced(bounce_class="hard", category="invalid_recipient", diagnostic=WORDS, origin="dsn")
FULL = Bounced(bounce_class="soft", category="mailbox_full", diagnostic="552 5.2.2 full", origin="dsn")
SQL = postgres.load("sender")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with postgres.connected(database, "sender") as pool:
        await housekeeping.begin(pool, retention=2)
        yield pool


@pytest.fixture
def known(pool: Pool) -> Suppressions:
    return Suppressions(pool)


async def deliver(pool: Pool, recipient: str, app: str = "shop", key: str | None = None, state: str = "done") -> UUID:
    """A message of the app to this recipient, whatever became of it."""
    message_id = uuid7()
    await pool.execute("INSERT INTO requests (message_id, digest, app, open) VALUES ($1, '', $2, 1)", message_id, app)
    await pool.execute(
        "INSERT INTO deliveries (message_id, recipient_no, app, recipient, destination, address_key, lane, state,"
        " due_at, expires_at, park_unknown)"
        " VALUES ($1, 0, $3, $2, 'example.org', $4, 'normal', $5, now(), now(), false)",
        message_id,
        recipient,
        app,
        key or KEYRING.address_key(recipient),
        state,
    )
    return message_id


def told(message_id: UUID, data: Data, days: float = 0) -> AnyEvent:
    return event("bounce-ingest", message_id, 0, data, time=NOW + days * DAY)


def proof(kind: Kind, days: float = 0, **fields: Any) -> Evidence:
    """Evidence of that day, about a message of its own."""
    about: dict[str, Any] = {} if kind in ("added", "lifted") else {"message_id": uuid7(), "recipient_no": 0}
    return Evidence(id=uuid7(), kind=kind, at=NOW + days * DAY, **about | fields)


async def take(known: Suppressions, *evidence: Evidence, key: str = "key") -> None:
    await known.learn([Learnt(key, f"{key}@example.org", each) for each in evidence])


async def reasons(known: Suppressions, key: str = "key", app: str | None = None) -> str | None:
    found = await known.rejections([key], app)
    return found[key].reason if key in found else None


async def test_events_suppress_the_recipients_of_our_deliveries(
    known: Suppressions, pool: Pool, keyring: Keyring
) -> None:
    keys = [keyring.address_key(f"{name}@example.org") for name in ("hard", "abuse", "out", "fine")]
    dead = await deliver(pool, "Hard@Example.org")
    bounced = told(dead, HARD)
    batch = [
        bounced,
        told(await deliver(pool, "abuse@example.org"), Complained(feedback_type="abuse", origin="arf")),
        told(await deliver(pool, "out@example.org"), Complained(feedback_type="opt-out", origin="arf")),
        told(await deliver(pool, "fine@example.org"), FULL),
        told(uuid7(), HARD),
    ]
    assert await learn(known, batch) == {}
    found = await known.rejections(keys, "shop")
    assert [found[key].reason if key in found else None for key in keys] == [
        "hard_bounce",
        "spam_complaint",
        "unsubscribed",
        None,
    ]
    hard = found[keys[0]]
    assert (hard.evidence_event, hard.evidence_message, hard.app) == (bounced.id, dead, None)
    assert hard.until == hard.since + 30 * DAY
    assert (await known.rejections(keys, "desk")).keys() == set(keys[:2])


async def test_an_event_that_comes_again_is_known(known: Suppressions, pool: Pool, keyring: Keyring) -> None:
    batch = [told(await deliver(pool, "ann@example.org"), HARD)]
    for _ in range(3):
        await learn(known, batch * 2)
    [evidence] = (await known.evidence([keyring.address_key("ann@example.org")])).values()
    assert len(evidence) == 1


KINDS = [each for each in get_args(Kind) if each not in ("added", "lifted")]
REASONS: list[RejectionReason] = ["manual", "hard_bounce"]


def drawn(chance: random.Random) -> Evidence:
    """Any evidence, about one of a few messages."""
    at = NOW + chance.randrange(-60, 0) * DAY / 2
    match kind := chance.choice([*KINDS, *["soft_bounce"] * 4, "added", "lifted"]):
        case "added":
            scope = {"app": chance.choice([None, "shop"])}
            told: dict[str, Any] = scope | {"reason": chance.choice(REASONS)}
        case "lifted":
            told = {"app": chance.choice([None, None, "shop"])}
        case _:
            app = "shop" if kind == "opt_out" else None
            told = {"app": app, "message_id": UUID(int=chance.randrange(1, 9)), "recipient_no": 0}
    return Evidence(id=derived_id(kind, at, *told.items()), kind=cast(Kind, kind), at=at, **told)


async def stored(pool: Pool, key: str) -> list[tuple[object, ...]]:
    rows = await pool.fetch(
        "SELECT app, reason, since, until, evidence, lift FROM suppressions WHERE address_key = $1", key
    )
    return sorted(map(tuple, rows), key=repr)


def meant(evidence: Sequence[Evidence]) -> list[tuple[object, ...]]:
    return sorted(
        ((e.app, e.reason, e.since, e.until, e.evidence.id, e.lift and e.lift.id) for e in entries(evidence)), key=repr
    )


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_stored_follows_from_the_set_of_evidence(known: Suppressions, pool: Pool, seed: int) -> None:
    chance = random.Random(seed)
    histories = {f"key{number}": [drawn(chance) for _ in range(12)] for number in range(20)}
    pieces = [Learnt(key, key, each) for key, history in histories.items() for each in (*history, *history[:4])]
    chance.shuffle(pieces)
    batches = [pieces[start : start + 15] for start in range(0, len(pieces), 15)]
    await asyncio.gather(*(known.learn(batch) for batch in batches))  # by several at once, and never a deadlock
    for key, history in histories.items():
        assert await stored(pool, key) == meant(history)


async def test_a_success_that_is_learnt_late_takes_an_entry_back(known: Suppressions) -> None:
    await take(known, proof("soft_bounce", -5), proof("soft_bounce", -2), proof("soft_bounce"))
    assert await reasons(known) == "soft_bounces"
    await take(known, proof("delivered", -3))
    assert await reasons(known) is None


async def test_only_a_success_after_soft_failures_is_noted(known: Suppressions, pool: Pool) -> None:
    await take(known, proof("soft_bounce", -5), proof("soft_bounce", -4))
    await take(known, proof("hard_bounce", -1), key="hard")
    queue = Queue(pool, timedelta(minutes=1), timedelta(minutes=1))
    for key in ("key", "hard", "new"):
        delivery = await deliver(pool, f"{key}@example.org", key=key, state="ready")
        [leased] = await queue.lease("normal", 1, Room((), {}, 1))
        data = Delivered(origin="smtp")
        said = event("sender", delivery, 0, data, time=NOW - DAY)
        assert await queue.settle([Settlement(leased, Outcome("done", data), said, final=True)]) == [True]
    assert [key for key, *_ in await pool.fetch("SELECT * FROM suppression_evidence WHERE kind = 'delivered'")] == [
        "key"
    ]
    await take(known, proof("soft_bounce"))
    assert await reasons(known) is None


async def test_what_has_ended_or_was_lifted_does_not_count(known: Suppressions, pool: Pool) -> None:
    await take(known, proof("hard_bounce", -31), key="ended")
    await take(known, proof("hard_bounce", -29), key="holds")
    await take(known, proof("complaint", -3), proof("lifted", -2, by="ann"), proof("complaint", -2.5), key="lifted")
    await take(known, proof("added", reason="manual", app="shop", by="ann"), key="shop")
    active = await pool.fetch("SELECT address_key, evidence_event FROM active_suppressions ORDER BY address_key")
    assert [(key, event is None) for key, event in active] == [("holds", False), ("shop", True)]


async def test_what_was_known_then_can_be_asked_for(known: Suppressions) -> None:
    await take(known, proof("hard_bounce", -9))
    [[bounce]] = (await known.evidence(["key"])).values()
    assert bounce.learnt_at is not None
    await take(known, proof("lifted", by="ann"))
    assert await known.evidence(["key"], bounce.learnt_at) == {"key": [bounce]}
    assert await known.evidence(["key"], bounce.learnt_at - DAY) == {}


@pytest.mark.parametrize("erased_first", [False, True])
async def test_erasure_leaves_the_keyed_hash(
    known: Suppressions, pool: Pool, keyring: Keyring, erased_first: bool
) -> None:
    key = keyring.address_key("ann@example.org")
    message_id = await deliver(pool, "ann@example.org")
    steps = [told(message_id, HARD, -1), told(message_id, Erased(by="ann", address_key=key))]
    for step in reversed(steps) if erased_first else steps:
        await learn(known, [step])
    await learn(known, steps)
    assert await reasons(known, key) == "hard_bounce"
    whole = await pool.fetch(
        "SELECT row_to_json(a)::text, row_to_json(e)::text FROM suppression_addresses a, suppression_evidence e"
    )
    assert len(whole) == 1
    assert "ann" not in str(whole)


@pytest.mark.parametrize("erased_first", [False, True])
async def test_an_address_that_is_written_to_after_its_erasure_is_a_new_one(
    known: Suppressions, erased_first: bool
) -> None:
    bounce, erased = [Learnt("key", "ann@example.org", proof("hard_bounce"))], {"key": NOW - DAY}
    for learnt, forgotten in (([], erased), (bounce, {})) if erased_first else ((bounce, {}), ([], erased)):
        await known.learn(learnt, forgotten)
    assert [each.address for each in await known.page(None, None, None, 9)] == ["ann@example.org"]
