"""Events, deliveries and messages in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from status_store import fold
from status_store.dead import DeadLetter
from status_store.fold import RULES_VERSION, Delivery
from status_store.rollup import Rollup
from status_store.standing import Status
from tracepost import events, postgres
from tracepost.events import Accepted, AnyEvent
from tracepost.postgres import Connection, Pool

_sql = postgres.load("status_store")

Key = tuple[UUID, int]  # message_id, recipient_no


@dataclass(frozen=True, slots=True)
class Change:
    """A numbered change of a message's status; `body` is the data of a status event."""

    number: int
    message_id: UUID
    body: dict[str, Any]


class Work:
    """What one transaction of `record` asks for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, batch: Iterable[AnyEvent]) -> list[AnyEvent]:
        """Store events; answers those that were not stored before."""
        unique = {(event.message_id, event.id): event for event in reversed(list(batch))}
        ordered = dict(sorted(unique.items()))  # in key order: no deadlock
        columns = [(*key, e.recipient_no, e.name, e.time, events.encode(e).decode()) for key, e in ordered.items()]
        rows = await self._connection.fetch(_sql["insert_events"], *zip(*columns, strict=True))
        return [ordered[row["message_id"], row["event_id"]] for row in rows]

    async def lock(self, message_ids: Iterable[UUID]) -> dict[UUID, Any]:
        """Lock the messages in key order, made where they are new; answers the roll-up that each has."""
        ids = sorted(message_ids)
        await self._connection.execute(_sql["insert_messages"], ids)
        rows = await self._connection.fetch(_sql["lock_messages"], ids)
        return {row["message_id"]: json.loads(row["rollup"]) for row in rows}

    async def deliveries(self, message_ids: Iterable[UUID]) -> dict[Key, Delivery]:
        """What is known of all deliveries of these messages."""
        rows = await self._connection.fetch(_sql["facts"], list(message_ids))
        return {(row["message_id"], row["recipient_no"]): fold.from_json(row["facts"]) for row in rows}

    async def history(self, key: Key) -> list[AnyEvent]:
        """Every stored event of a delivery."""
        return [events.decode(row["body"]) for row in await self._connection.fetch(_sql["history"], *key)]

    async def put_deliveries(self, deliveries: Mapping[Key, tuple[Delivery, Status]]) -> None:
        """Write what the events of these deliveries add up to."""
        rows = [(*key, status, fold.to_json(each), RULES_VERSION) for key, (each, status) in deliveries.items()]
        await self._connection.execute(_sql["put_deliveries"], *zip(*rows, strict=True))

    async def put_accepted(self, accepted: Mapping[UUID, Accepted]) -> None:
        """Write what a message says of itself."""
        rows = [
            (id_, a.app, a.reference, a.sender, a.subject_line, a.rfc_message_id, a.recipient_count, a.tags, a.metadata)
            for id_, a in accepted.items()
        ]
        await self._connection.execute(_sql["put_accepted"], *zip(*rows, strict=True))

    async def put_rollups(self, rollups: Mapping[UUID, Rollup], changed: set[UUID]) -> None:
        """Raise the messages' versions; those whose roll-up changed are marked for the drainer."""
        rows = [(id_, each.status, to_json(each).decode(), id_ in changed) for id_, each in rollups.items()]
        await self._connection.execute(_sql["put_rollups"], *zip(*rows, strict=True))


class Store:
    """Every statement that status-store makes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        """One transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            yield Work(connection)

    async def number_changes(self, count: int) -> None:
        """Give the next numbers to changes that are committed; one drainer at a time."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_sql["lock_drainer"])
            await connection.execute(_sql["number_changes"], count)

    async def unpublished(self, count: int) -> list[Change]:
        """The oldest changes that the broker has not confirmed."""
        return [Change(**row) for row in await self._pool.fetch(_sql["unpublished"], count)]

    async def mark_published(self, numbers: Sequence[int]) -> None:
        """The broker has confirmed these."""
        await self._pool.execute(_sql["published"], numbers)

    async def message(self, message_id: UUID) -> tuple[dict[str, Any], dict[int, Delivery]] | None:
        """A message's row and what is known of its deliveries."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchval(_sql["message"], message_id)
            rows = await connection.fetch(_sql["deliveries"], message_id)
        return (json.loads(row), {r["recipient_no"]: fold.from_json(r["facts"]) for r in rows}) if row else None

    async def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Store dead letters that are not stored yet."""
        rows = sorted((astuple(each) for each in letters), key=lambda row: row[0])
        await self._pool.execute(_sql["insert_dead"], *zip(*rows, strict=True))

    async def dead_letters(
        self, queue: str | None, code: str | None, before: UUID | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Dead letters without their bodies."""
        return [dict(row) for row in await self._pool.fetch(_sql["list_dead"], queue, code, before, limit)]

    async def dead_letter(self, id_: UUID) -> Mapping[str, Any] | None:
        """A dead letter whole."""
        row = await self._pool.fetchrow(_sql["dead"], id_)
        return dict(row) if row else None

    async def mark_replayed(self, id_: UUID) -> None:
        """It was published again, confirmed."""
        await self._pool.execute(_sql["mark_replayed"], id_)

    async def drop_dead(self, id_: UUID) -> bool:
        """Forget a dead letter; False when there is none."""
        return bool(await self._pool.fetchval(_sql["drop_dead"], id_))

    async def count_dead(self) -> int:
        """How many were neither replayed nor dropped."""
        return int(await self._pool.fetchval(_sql["count_dead"]))

    async def timeline(self, message_id: UUID) -> tuple[str | None, str | None]:
        """The message's app, and its events in the order of their times, as JSON."""
        row = await self._pool.fetchrow(_sql["timeline"], message_id)
        return (row["app"], row["events"]) if row else (None, None)

    async def list(
        self, app: str | None, status: Status | None, reference: str | None, before: UUID | None, limit: int
    ) -> list[dict[str, Any]]:
        """Messages, newest first."""
        rows = await self._pool.fetch(_sql["list"], app, status, reference, before, limit)
        return [json.loads(row["message"]) for row in rows]
