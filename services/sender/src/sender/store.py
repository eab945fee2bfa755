"""The outbound queue in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg

from sender.lanes import Lane
from sender.outcome import Outcome
from sender.pacing import Room
from tracepost import events, postgres
from tracepost.events import AnyEvent, Rejected
from tracepost.partitions import OutOfMonths
from tracepost.requests import SendRequest

Key = tuple[UUID, int]  # message_id and recipient_no

DESTINATIONS_AT_ONCE = 200  # that one lease looks at

_sql = postgres.load("sender")


class NewDelivery(NamedTuple):
    """A recipient's copy, in order of recipient_no; `claimed` if its attempt shall begin at once."""

    recipient: str
    destination: str
    address_key: str
    claimed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What all copies are made of, as it came and when; `request` if it was read already."""

    body: bytes
    accepted_at: datetime
    request: SendRequest | None = None


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request and its deliveries."""

    message_id: UUID
    digest: bytes
    app: str
    message: Message
    traceparent: str | None
    lane: Lane
    deliveries: Sequence[NewDelivery]
    due_at: datetime
    expires_at: datetime
    park_unknown: bool
    accepted: Sequence[AnyEvent]
    overrides: bool = False  # is sent to suppressed addresses too


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
    overrides: bool
    in_doubt: bool
    said: str | None
    traceparent: str | None
    message: Message
    suppressed: Rejected | None = None  # why it is not to be tried, as known when it was leased

    @property
    def key(self) -> Key:
        """Which delivery it is."""
        return self.message_id, self.recipient_no


class Settlement(NamedTuple):
    """An outcome and the event that tells it; `final` if the remote server decided it, so that it counts even late."""

    leased: Leased
    outcome: Outcome
    event: AnyEvent
    final: bool


class Taken(NamedTuple):
    """Of requests that were to be inserted: the digests of those that were there already, and what is leased of the
    others.
    """

    known: Mapping[UUID, bytes]
    leased: Sequence[Leased]


class Unpublished(NamedTuple):
    """An event of the outbox, encoded."""

    seq: int
    name: str
    body: bytes


_OF_A_ROW = [name for name in Leased.__slots__ if name not in {"message", "suppressed"}]


class Queue:
    """Statements of the queue; `lease` and `doubt` are how long a delivery stays ours before and after the final dot
    may be sent.
    """

    def __init__(self, pool: postgres.Pool, lease: timedelta, doubt: timedelta) -> None:
        self._pool, self._lease, self._doubt = pool, lease, doubt

    async def insert(self, requests: Sequence[NewRequest]) -> Taken:
        """Insert what is new with its deliveries and events, and lease of it what is claimed and due.

        OutOfMonths: one has no partition to go to, and nothing was inserted.
        """
        new = {each.message_id: each for each in sorted(requests, key=attrgetter("message_id"))}  # no deadlock
        told = [_told(event) for request in new.values() for event in request.accepted]
        heads, deliveries = [*map(_head, new.values())], _deliveries(new.values())
        columns = (*zip(*heads, strict=True), *zip(*deliveries, strict=True), *zip(*told, strict=True))
        try:
            rows = await self._pool.fetch(_sql["insert"], *columns, self._lease)
        except asyncpg.CheckViolationError as error:
            raise OutOfMonths(str(error)) from error
        leased = [_begun(new[row["message_id"]], row) for row in rows if row["recipient_no"] is not None]
        if known := [*new.keys() - {row["message_id"] for row in rows}]:
            rows = await self._pool.fetch(_sql["known_digests"], known)
            return Taken({row["message_id"]: row["digest"] for row in rows}, leased)
        return Taken({}, leased)

    async def lease(self, lane: Lane, count: int, room: Room, after: str = "") -> list[Leased]:
        """Up to `count` deliveries of a lane that are ready, shared evenly by the destinations after that name."""
        known = list(room.known), list(room.known.values())
        limits = (count, after, room.closed, *known, room.others, DESTINATIONS_AT_ONCE)
        return _leased(await self._pool.fetch(_sql["lease"], lane, *limits, self._lease))

    async def doubtful(self, count: int) -> list[Leased]:
        """Up to `count` deliveries to whose final dot no reply came in time."""
        return _leased(await self._pool.fetch(_sql["doubtful"], count, self._doubt))

    async def overdue(self, count: int) -> list[Leased]:
        """Up to `count` deliveries that are ready, but have expired."""
        return _leased(await self._pool.fetch(_sql["overdue"], count, self._lease))

    async def wake(self, count: int) -> int:
        """Make ready what has waited for its time, and what a dead sender had leased; answers how many."""
        return int((await self._pool.execute(_sql["wake"], count)).split()[1])

    async def renew(self, leased: Iterable[Leased]) -> None:
        """Hold these longer, as far as they are still ours and not in doubt."""
        if held := _held(leased):
            await self._pool.execute(_sql["renew"], *zip(*held, strict=True), self._lease, held[0][0], held[-1][0])

    async def suppressed(self, asked: Sequence[tuple[str, str]]) -> list[Rejected | None]:
        """For each address key and app: why it is not to be written to, if so."""
        rows = await self._pool.fetch(_sql["suppressed"], *zip(*asked, strict=True))
        found = {(row["address_key"], row["app"]): _evidence(row) for row in rows}
        return [found.get(each) for each in asked]

    async def doubt(self, leased: Sequence[Leased]) -> list[bool]:
        """Commit that the final dot may be sent; False where the lease is lost, or the address was suppressed."""
        held = _held(leased)
        rows = await self._pool.fetch(_sql["doubt"], *zip(*held, strict=True), self._doubt, held[0][0], held[-1][0])
        return _answers(leased, rows)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcomes, each with its event; False where the lease is lost: then another records."""
        told = sorted(map(_settlement, settlements), key=itemgetter(0, 1))
        rows = await self._pool.fetch(_sql["settle"], *zip(*told, strict=True), told[0][0], told[-1][0])
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


def _head(new: NewRequest) -> tuple[object, ...]:
    message = new.message
    about = len(new.deliveries), message.body, new.traceparent, message.accepted_at
    return new.message_id, new.digest, new.app, *about


def _deliveries(requests: Iterable[NewRequest]) -> list[tuple[object, ...]]:
    return [
        (
            *(r.message_id, number, r.app, each.recipient, each.destination, each.address_key),
            *(r.lane, r.expires_at, r.park_unknown, r.due_at, each.claimed, r.overrides),
        )
        for r in requests
        for number, each in enumerate(r.deliveries)
    ]


def _evidence(row: asyncpg.Record) -> Rejected | None:
    return Rejected(**{name: row[name] for name in _EVIDENCE}) if row.get("reason") else None


def _begun(new: NewRequest, row: asyncpg.Record) -> Leased:
    """A new delivery that was leased as it was inserted."""
    delivery = new.deliveries[row["recipient_no"]]
    return Leased(
        message_id=new.message_id,
        recipient_no=row["recipient_no"],
        app=new.app,
        recipient=delivery.recipient,
        destination=delivery.destination,
        address_key=delivery.address_key,
        lane=new.lane,
        attempt=1,
        fence=1,
        expires_at=new.expires_at,
        outcome_unknown=False,
        park_unknown=new.park_unknown,
        overrides=new.overrides,
        in_doubt=False,
        said=None,
        traceparent=new.traceparent,
        message=new.message,
        suppressed=_evidence(row),
    )


def _leased(rows: Sequence[asyncpg.Record]) -> list[Leased]:
    messages = {row["message_id"]: Message(row["body"], row["accepted_at"]) for row in rows}
    return [
        Leased(
            **{name: row[name] for name in _OF_A_ROW}, message=messages[row["message_id"]], suppressed=_evidence(row)
        )
        for row in rows
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
