"""What the query API reads from PostgreSQL, over connections of its own: whoever asks holds up no event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from status_store import fold
from status_store.asked import Plan, Walk
from status_store.point import Point
from status_store.rollup import SHOWN_AS
from status_store.standing import Status
from tracepost import events, postgres
from tracepost.batches import Batches
from tracepost.events import AnyEvent
from tracepost.keys import Client
from tracepost.postgres import Pool
from tracepost.problems import Invalid, Problem
from tracepost.runner import background

_sql = postgres.load("status_store")

looks = {name: _sql["look"].format(walk=_sql[f"walk_{name}"]) for name in get_args(Walk)}

POINTS_AT_ONCE = 32  # while these are answered, the database reads the next
MOST_LOOKED_AT = 10_000  # messages for one page: some hundredths of a second


class Queries:
    """Reads, and writes nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._points: Batches[str, Point | None] = Batches(self._read, transient=(), most=POINTS_AT_ONCE)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Those who ask for a message while others are read go together in the next statement."""
        return background(self._points.run())

    async def message(self, message_id: UUID, client: Client) -> Point:
        """What is stored of a message; Invalid (404) where there is none that is the client's business."""
        found = await self.point(str(message_id))
        if found is None or not client.may_see(found.app):
            raise _unknown()
        return found

    def point(self, message_id: str) -> asyncio.Future[Point | None]:
        """The same of anybody's message; None where there is none."""
        return self._points.put(message_id)

    async def _read(self, message_ids: Sequence[str]) -> Sequence[Point | None]:
        rows = await self._pool.fetch(_sql["points"], message_ids, min(message_ids), max(message_ids))
        found = {id_: _point(*row) for id_, *row in rows}
        return [found.get(id_) for id_ in message_ids]

    async def page(self, plan: Plan, limit: int) -> tuple[list[str], UUID | None]:
        """Messages as JSON, and where to go on, None at the end; where few are found, a page may be short."""
        found: list[str] = []
        high, count, looked_at = plan.high, 2 * limit, 0
        while True:
            rows = await self._pool.fetch(looks[plan.walk], plan.low, high, count, *plan[1:6])
            for high, row in rows:
                if row is not None:
                    found.append(row)
                if len(found) == limit:
                    return found, high
            looked_at += len(rows)
            if len(rows) < count:
                return found, None
            if looked_at >= MOST_LOOKED_AT:
                return found, high
            count = min(8 * count, MOST_LOOKED_AT)

    async def delivery_events(self, message_id: UUID, number: int, client: Client) -> list[AnyEvent]:
        """All events of a delivery; Invalid (404) as for a message."""
        row = await self._pool.fetchrow(_sql["delivery_events"], message_id, number)
        if row is None or not client.may_see(row["app"]):
            raise _unknown()
        return [events.decode(body) for body in row["bodies"]]

    async def counted(
        self, start: datetime, end: datetime, by: Literal["hour", "day"], app: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """What was counted from then to then: time, kind, value, count."""
        return [dict(row) for row in await self._pool.fetch(_sql["counted"], start, end, by, app)]

    async def timeline(self, message_id: UUID, client: Client) -> str:
        """The message's events in the order of their times, as JSON; Invalid (404) as for a message."""
        row = await self._pool.fetchrow(_sql["timeline"], message_id)
        if row is None or not client.may_see(row["app"]):
            raise _unknown()
        return str(row["events"])


def _unknown() -> Invalid:
    return Invalid(Problem(code="unknown-message", title="No event of this message is known", status=404))


def _point(app: str | None, version: int, status: Status, words: str | None, row: str, *known: Sequence[Any]) -> Point:
    deliveries = {number: fold.from_json(facts) for number, facts in zip(*known, strict=True)}
    return Point(app, version, words or SHOWN_AS[status], row, deliveries)
