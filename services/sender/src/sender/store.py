"""The outbound queue in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sender.outcome import Outcome
from tracepost import events, postgres
from tracepost.events import AnyEvent, Rejected

Lane = Literal["normal", "bulk"]

_sql = postgres.load("sender")


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request and its deliveries: (recipient, due, expiry) in order of recipient_no."""

    message_id: UUID
    digest: bytes
    app: str
    body: bytes
    traceparent: str | None
    lane: Lane
    recipients: Sequence[str]
    due_at: datetime
    expires_at: datetime
    park_unknown: bool
    accepted: Sequence[AnyEvent]


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that is ours until its lease ends; `in_doubt` if the last one ended between final dot and reply."""

    message_id: UUID
    recipient_no: int
    recipient: str
    attempt: int
    fence: int
    expires_at: datetime
    outcome_unknown: bool
    park_unknown: bool
    in_doubt: bool
    body: bytes
    traceparent: str | None
    accepted_at: datetime


class Queue:
    """Every statement that the sender makes; `lease` and `doubt` are how long a delivery stays ours before and after
    the final dot may be sent.
    """

    def __init__(self, pool: postgres.Pool, lease: timedelta, doubt: timedelta) -> None:
        self._pool, self._lease, self._doubt = pool, lease, doubt

    async def insert(self, requests: Sequence[NewRequest]) -> dict[UUID, bytes]:
        """Insert what is new with its deliveries and events; answers the digests of what was there already."""
        ordered = sorted(requests, key=lambda request: request.message_id)  # in key order: no deadlock
        async with self._pool.acquire() as connection, connection.transaction():
            columns = [(r.message_id, r.digest, r.app, r.body, r.traceparent) for r in ordered]
            rows = await connection.fetch(_sql["insert_requests"], *zip(*columns, strict=True))
            inserted = {row["message_id"] for row in rows}
            fresh = [request for request in ordered if request.message_id in inserted]
            if fresh:
                await connection.execute(_sql["insert_deliveries"], *zip(*_deliveries(fresh), strict=True))
                accepted = [events.encode(event) for request in fresh for event in request.accepted]
                await connection.execute(_sql["insert_events"], accepted)
        known = [request.message_id for request in ordered if request.message_id not in inserted]
        return (
            {row["message_id"]: row["digest"] for row in await self._pool.fetch(_sql["known_digests"], known)}
            if known
            else {}
        )

    async def lease(self, lane: Lane, count: int) -> list[Leased]:
        """Up to `count` deliveries of a lane that are due."""
        rows = await self._pool.fetch(_sql["lease"], lane, count, self._lease) if count > 0 else []
        return [Leased(**row) for row in rows]

    async def doubt(self, leased: Leased, address_key: str) -> bool:
        """Commit that the final dot may be sent; False when the lease is lost or the address was suppressed."""
        key = leased.message_id, leased.recipient_no, leased.fence
        return bool(await self._pool.fetchval(_sql["doubt"], *key, self._doubt, address_key))

    async def settle(self, leased: Leased, outcome: Outcome, event: AnyEvent) -> bool:
        """Record an outcome and its event together; False when the lease is lost: then another records."""
        key = leased.message_id, leased.recipient_no
        async with self._pool.acquire() as connection, connection.transaction():
            state = outcome.state, outcome.due_at, outcome.outcome_unknown
            if not await connection.fetchval(_sql["settle"], *key, leased.fence, *state):
                return False
            await connection.execute(_sql["insert_events"], [events.encode(event)])
            if outcome.state == "done":
                await connection.execute(_sql["drop_body"], leased.message_id)
        return True

    @asynccontextmanager
    async def outbox(self, count: int) -> AsyncIterator[list[AnyEvent]]:
        """The oldest events not yet published; deleted when the block ends well."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_sql["outbox_head"], count)
            yield [events.decode(row["event"]) for row in rows]
            await connection.execute(_sql["outbox_delete"], [row["seq"] for row in rows])

    async def outbox_age(self) -> float:
        """Seconds since the oldest event not yet published was written; 0 without one."""
        return float(await self._pool.fetchval(_sql["outbox_age"]))

    async def idempotent(self, client: str, key: str, message_id: UUID, digest: bytes) -> tuple[UUID, bytes]:
        """The id and digest that the client's key stands for: these, unless it was used before."""
        row = await self._pool.fetchrow(_sql["idempotent"], client, key, message_id, digest)
        assert row is not None
        return row["message_id"], row["digest"]

    async def suppression(self, message_id: UUID, address_key: str) -> Rejected | None:
        """Why the message is not to go to the address, or None."""
        row = await self._pool.fetchrow(_sql["suppression"], message_id, address_key)
        return Rejected(**row) if row else None


def _deliveries(requests: Iterable[NewRequest]) -> list[tuple[object, ...]]:
    return [
        (request.message_id, number, recipient, request.lane, request.due_at, request.expires_at, request.park_unknown)
        for request in requests
        for number, recipient in enumerate(request.recipients)
    ]
