"""What operators look at and change in the queue, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from sender.listing import Deliveries, Place
from sender.operating import Change, Decision, Held
from tracepost import events, postgres
from tracepost.keys import ANY

Row = Mapping[str, Any]

COUNTED = 20_000  # rows of each part of the queue; what has more is said to have at least so many
DESTINATIONS = 2_000  # looked at one by one
OF_EACH = 1_000
LOOKED = 5_000  # rows that a page may pass over
TRIES = 5

_sql = postgres.load("sender")

# What a look costs must not depend on statistics, which a queue outruns: without these plans, all that is left to the
# planner is to go along the partial indexes, in their order, as far as the limits let it. To compile such a statement
# takes longer than to run it.
ALONG_INDEXES = "; ".join(
    f"SET LOCAL {name} = off" for name in ("enable_seqscan", "enable_bitmapscan", "enable_sort", "jit")
)


class Control:
    """Statements of the queue's API; every change is one transaction with its events and its journal entry."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool

    async def change(
        self, message_id: UUID, numbers: Sequence[int] | None, decide: Callable[[Sequence[Held]], Change], why: Decision
    ) -> Change:
        """Do what `decide` makes of these deliveries (None: of all the message's), which are held meanwhile."""
        for _ in range(TRIES - 1):
            try:
                return await self._change(message_id, numbers, decide, why)
            except asyncpg.DeadlockDetectedError:  # a batch of attempts may hold them in another order
                continue
        return await self._change(message_id, numbers, decide, why)

    async def _change(
        self, message_id: UUID, numbers: Sequence[int] | None, decide: Callable[[Sequence[Held]], Change], why: Decision
    ) -> Change:
        async with self._pool.acquire() as connection, connection.transaction():
            held = [Held(**row) for row in await connection.fetch(_sql["hold_deliveries"], message_id, numbers)]
            change = decide(held)
            if change.told:
                columns = [(each.message_id, each.name, events.encode(each)) for each in change.told]
                await connection.execute(_sql["tell_decided"], *zip(*columns, strict=True))
                await connection.execute(
                    _sql["close_deliveries"], message_id, [each.recipient_no for each in change.told]
                )
            if change.ready:
                await connection.execute(_sql["ready_deliveries"], message_id, change.ready)
            if change.changed:
                await _decided(connection, why, str(message_id), change.changed, held[0].app)
        return change

    async def pause(self, destination: str, why: Decision) -> tuple[Row, bool]:
        """Lease no more for it; answers the pause in force, and whether it is new."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_sql["pause"], destination, why.by, why.reason)
            assert row is not None
            pause = dict(row)
            is_new = pause.pop("is_new")
            if is_new:
                await _decided(connection, why, destination)
        return pause, is_new

    async def resume(self, destination: str, why: Decision) -> Row | None:
        """Lease for it again; answers the pause that is over, None if there was none."""
        async with self._pool.acquire() as connection, connection.transaction():
            ended = await connection.fetchrow(_sql["resume"], destination)
            if ended:
                await _decided(connection, why, destination)
        return dict(ended) if ended else None

    async def pauses(self, after: str, limit: int) -> list[Row]:
        """Pauses by name, those after that one."""
        return _rows(await self._pool.fetch(_sql["list_pauses"], after, limit))

    async def decisions(self, app: str, before: int, limit: int) -> list[Row]:
        """The journal of what an app may see (ANY: all), the newest first."""
        if app == ANY:
            return _rows(await self._pool.fetch(_sql["list_decisions"], before, limit))
        return _rows(await self._pool.fetch(_sql["list_decisions_of"], before, limit, app))

    async def message(self, message_id: UUID) -> tuple[Row, list[Row]] | None:
        """A request and all its deliveries."""
        async with self._pool.acquire() as connection:
            found = await connection.fetchrow(_sql["message"], message_id)
            deliveries = await connection.fetch(_sql["message_deliveries"], message_id)
        return (dict(found), _rows(deliveries)) if found else None

    async def totals(self, app: str) -> tuple[list[Row], datetime | None]:
        """Rows (part, lane, state, looked, count, oldest), and since when the oldest of all is ready, if found."""
        rows = await self._bounded("totals", COUNTED, _own(app))
        heads = await self._bounded("oldest_ready", DESTINATIONS) if app == ANY else []
        return rows, min((row["oldest"] for row in [*heads, *rows] if row["oldest"]), default=None)

    async def destinations(self, app: str, limit: int) -> tuple[list[Row], bool]:
        """Those with most to send, and whether nothing was left out of the count."""
        bounds = DESTINATIONS, OF_EACH, COUNTED
        rows = await self._bounded("destinations", *bounds, _own(app), limit)
        return [row for row in rows if row["destination"]], all(row["complete"] for row in rows)

    async def deliveries(self, app: str, asked: Deliveries) -> tuple[list[Row], Place | None]:
        """A page of what is not done, and where the next begins; it may be short, or empty, and not the last."""
        found: list[Row] = []
        for place in asked.places:
            wanted = asked.limit - len(found)
            look = wanted if _takes_all(app, asked, place) else LOOKED
            rows = await self._look(place, asked.destination, look)
            matching = [row for row in rows if _matches(row, app, asked)]
            found += matching[:wanted]
            if len(matching) >= wanted:
                return found, _after(place, matching[wanted - 1])
            if len(rows) == look:
                return found, _after(place, rows[-1])
        return found, None

    async def _look(self, place: Place, destination: str | None, count: int) -> list[Row]:
        key = place.due_at, place.message_id, place.recipient_no
        match place.run:
            case "parked":
                return await self._bounded("look_parked", *key[1:], count)
            case "timed":
                return await self._bounded("look_timed", *key, count)
            case lane if destination:
                return await self._bounded("look_ready_to", lane, destination, *key, count)
            case lane:
                return await self._bounded("look_ready", lane, place.destination, *key, count)

    async def _bounded(self, name: str, *arguments: object) -> list[Row]:
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute(ALONG_INDEXES)
            return _rows(await connection.fetch(_sql[name], *arguments))


async def _decided(
    connection: postgres.Connection, why: Decision, target: str, recipients: Sequence[int] = (), app: str | None = None
) -> None:
    await connection.execute(_sql["decide"], why.by, why.what, target, recipients, app, why.reason)


def _rows(records: Iterable[asyncpg.Record]) -> list[Row]:
    return [dict(record) for record in records]


def _own(app: str) -> str | None:
    return None if app == ANY else app


def _takes_all(app: str, asked: Deliveries, place: Place) -> bool:
    """Whether all rows of the run belong to the page."""
    ready = place.run in ("normal", "bulk")
    return app == ANY and (ready or (asked.destination is None and (asked.state is None or place.run == "parked")))


def _matches(row: Row, app: str, asked: Deliveries) -> bool:
    return (
        app in (ANY, row["app"])
        and asked.state in (None, row["state"])
        and asked.destination in (None, row["destination"])
    )


def _after(place: Place, row: Row) -> Place:
    key = {name: row[name] for name in ("destination", "due_at", "message_id", "recipient_no")}
    return Place(run=place.run, **key)
