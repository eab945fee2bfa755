"""The outbound queue in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from sender.outcome import Outcome
from tracepost import events, postgres
from tracepost.events import AnyEvent, Rejected
from tracepost.partitions import OutOfMonths

Lane = Literal["normal", "bulk"]
Key = tuple[UUID, int]  # message_id and recipient_no

DESTINATIONS_AT_ONCE = 200  # that one lease looks at

_sql = postgres.load("sender")


class NewDelivery(NamedTuple):
    """A recipient's copy, in order of recipient_no."""

    recipient: str
    destination: str
    address_key: str


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request and its deliveries."""

    message_id: UUID
    digest: bytes
    app: str
    body: bytes
    traceparent: str | None
    lane: Lane
    deliveries: Sequence[NewDelivery]
    due_at: datetime
    expires_at: datetime
    park_unknown: bool
    accepted: Sequence[AnyEvent]


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that is ours until its lease ends; `in_doubt` if the last one ended between final dot and reply."""

    message_id: UUID
    recipient_no: int
    app: str
    recipient: str
    destination: str
    address_key: str
    lane: Lane
    attempt: int
    fence: int
    expires_at: datetime
    outcome_unknown: bool
    park_unknown: bool
    in_doubt: bool
    said: str | None
    body: bytes
    traceparent: str | None
    accepted_at: datetime

    @property
    def key(self) -> Key:
        """Which delivery it is."""
        return self.message_id, self.recipient_no


class Room(NamedTuple):
    """How many attempts may begin: for destinations that are known, and for each of the others."""

    closed: Sequence[str]
    known: Mapping[str, int]
    others: int


class Settlement(NamedTuple):
    """An outcome and the event that tells it; `final` if the remote server decided it, so that it counts even late."""

    leased: Leased
    outcome: Outcome
    event: AnyEvent
    final: bool


class Unpublished(NamedTuple):
    """An event of the outbox, encoded."""

    seq: int
    name: str
    body: bytes


class Queue:
    """Statements of the queue; `lease` and `doubt` are how long a delivery stays ours before and after the final dot
    may be sent.
    """

    def __init__(self, pool: postgres.Pool, lease: timedelta, doubt: timedelta) -> None:
        self._pool, self._lease, self._doubt = pool, lease, doubt

    async def insert(self, requests: Sequence[NewRequest]) -> dict[UUID, bytes]:
        """Insert what is new with its deliveries and events; answers the digests of what was there already.

        OutOfMonths: one has no partition to go to, and nothing was inserted.
        """
        ordered = sorted(requests, key=lambda request: request.message_id)  # in key order: no deadlock
        heads = [(r.message_id, r.digest, r.app, len(r.deliveries), r.body, r.traceparent) for r in ordered]
        told = [_told(event) for request in ordered for event in request.accepted]
        columns = (*zip(*heads, strict=True), *zip(*_deliveries(ordered), strict=True), *zip(*told, strict=True))
        try:
            inserted = {row["message_id"] for row in await self._pool.fetch(_sql["insert"], *columns)}
        except asyncpg.CheckViolationError as error:
            raise OutOfMonths(str(error)) from error
        known = [request.message_id for request in ordered if request.message_id not in inserted]
        rows = await self._pool.fetch(_sql["known_digests"], known) if known else []
        return {row["message_id"]: row["digest"] for row in rows}

    async def lease(self, lane: Lane, count: int, room: Room, after: str = "") -> list[Leased]:
        """Up to `count` deliveries of a lane that are ready, shared evenly by the destinations after that name."""
        known = list(room.known), list(room.known.values())
        limits = (count, after, room.closed, *known, room.others, DESTINATIONS_AT_ONCE)
        return [Leased(**row) for row in await self._pool.fetch(_sql["lease"], lane, *limits, self._lease)]

    async def doubtful(self, count: int) -> list[Leased]:
        """Up to `count` deliveries to whose final dot no reply came in time."""
        return [Leased(**row) for row in await self._pool.fetch(_sql["doubtful"], count, self._doubt)]

    async def overdue(self, count: int) -> list[Leased]:
        """Up to `count` deliveries that are ready, but have expired."""
        return [Leased(**row) for row in await self._pool.fetch(_sql["overdue"], count, self._lease)]

    async def wake(self, count: int) -> int:
        """Make ready what has waited for its time, and what a dead sender had leased; answers how many."""
        return int((await self._pool.execute(_sql["wake"], count)).split()[1])

    async def renew(self, leased: Iterable[Leased]) -> None:
        """Hold these longer, as far as they are still ours and not in doubt."""
        if held := _held(leased):
            await self._pool.execute(_sql["renew"], *zip(*held, strict=True), self._lease)

    async def suppressed(self, asked: Sequence[tuple[str, str]]) -> list[Rejected | None]:
        """For each address key and app: why it is not to be written to, if so."""
        rows = await self._pool.fetch(_sql["suppressed"], *zip(*asked, strict=True))
        found = {(key, app): Rejected(**dict(zip(_EVIDENCE, why, strict=True))) for key, app, *why in rows}
        return [found.get(each) for each in asked]

    async def doubt(self, leased: Sequence[Leased]) -> list[bool]:
        """Commit that the final dot may be sent; False where the lease is lost, or the address was suppressed."""
        rows = await self._pool.fetch(_sql["doubt"], *zip(*_held(leased), strict=True), self._doubt)
        return _answers(leased, rows)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcomes, each with its event; False where the lease is lost: then another records."""
        rows = await self._pool.fetch(
            _sql["settle"], *zip(*sorted(map(_settlement, settlements), key=itemgetter(0, 1)), strict=True)
        )
        return _answers([each.leased for each in settlements], rows)

    @asynccontextmanager
    async def outbox(self, count: int) -> AsyncIterator[list[Unpublished]]:
        """The oldest events not yet published; deleted when the block ends well."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_sql["outbox_head"], count)
            yield [Unpublished(*row) for row in rows]
            if rows:
                await connection.execute(_sql["outbox_delete"], [row["seq"] for row in rows])

    async def outbox_age(self) -> float:
        """Seconds since the oldest event not yet published was written; 0 without one."""
        return float(await self._pool.fetchval(_sql["outbox_age"]))

    async def idempotent(self, client: str, key: str, message_id: UUID, digest: bytes) -> tuple[UUID, bytes]:
        """The id and digest that the client's key stands for: these, unless it was used before."""
        row = await self._pool.fetchrow(_sql["idempotent"], client, key, message_id, digest)
        assert row is not None
        return row["message_id"], row["digest"]


_EVIDENCE = ("reason", "since", "until", "evidence_event", "evidence_message")


def _deliveries(requests: Iterable[NewRequest]) -> list[tuple[object, ...]]:
    return [
        (r.message_id, number, r.app, *each, r.lane, r.due_at, r.expires_at, r.park_unknown)
        for r in requests
        for number, each in enumerate(r.deliveries)
    ]


def _told(event: AnyEvent) -> tuple[UUID, str, bytes]:
    return event.message_id, event.name, events.encode(event)


def _settlement(each: Settlement) -> tuple[object, ...]:
    _, name, event = _told(each.event)
    o = each.outcome
    state = o.state, o.due_at, o.outcome_unknown, o.said
    return *each.leased.key, each.leased.fence, *state, each.final, name, event, each.event.id, each.event.time


def _held(leased: Iterable[Leased]) -> list[tuple[UUID, int, int]]:
    return sorted((*each.key, each.fence) for each in leased)  # in key order: no deadlock


def _answers(asked: Iterable[Leased], rows: Iterable[asyncpg.Record]) -> list[bool]:
    answered = {(row[0], row[1]) for row in rows}
    return [each.key in answered for each in asked]
