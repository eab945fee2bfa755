"""What one transaction reads and writes of events, deliveries and messages, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json

from status_store import fold, tally
from status_store.counters import Place
from status_store.fold import RULES_VERSION, Delivery
from status_store.rollup import Description
from status_store.standing import Status
from status_store.tally import Tally
from status_store.terms import Term
from tracepost import events, postgres
from tracepost.events import AnyEvent
from tracepost.postgres import Connection

_sql = postgres.load("status_store")

# As text, and not as UUID: that is hashed, compared and made in Python, some thirty times for each event.
MessageId = str
Key = tuple[MessageId, int]  # and recipient_no


class Raced(Exception):
    """Another transaction was the first to insert a message: nothing was changed, and all is to be done again."""


class Message(NamedTuple):
    """What is stored of a message, locked; `described_by` is the recipient whose `accepted` describes it."""

    recipient_count: int
    described_by: int | None
    rollup: str
    status: Status
    app: str | None

    @property
    def place(self) -> Place | None:
        """Where it is counted, from when its app is known."""
        return None if self.app is None else Place(self.app, self.status)


class Known(NamedTuple):
    """What is stored of a delivery; the facts only where they were asked for."""

    status: Status
    rules_version: int
    delivery: Delivery | None


class NewState(NamedTuple):
    """What is to be stored of a message; the description is None where none is known, or it stays as it is."""

    status: Status
    rollup: str
    changed: bool
    description: Description | None

    def place(self, before: Message | None) -> Place | None:
        """Where it is to be counted."""
        app = self.description.accepted.app if self.description else before and before.app
        return None if app is None else Place(app, self.status)


class Stored(NamedTuple):
    """What is stored of a delivery, as it stands there: what is wrong with it shall not keep it from being read."""

    rules_version: int
    status: str
    facts: str


class Differing(NamedTuple):
    """A message that is stored otherwise than it was asked about; `told`: in what subscribers are told."""

    status: Status
    told: bool
    app: str | None

    @property
    def place(self) -> Place | None:
        """Where it is counted."""
        return None if self.app is None else Place(self.app, self.status)


class Run(NamedTuple):
    """How far a refold is: `position` is the last message that is done; a dry run has no id."""

    id: int | None
    position: MessageId
    tally: Tally
    finished: bool


NEW_RUN = Run(None, str(UUID(int=0)), Tally(), finished=False)


class Work:
    """What one transaction of `record` or of a refold asks for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, batch: Iterable[AnyEvent]) -> list[AnyEvent]:
        """Store events; answers those that were not stored before, of several with one id the first."""
        ordered = sorted(batch, key=lambda event: (event.subject, event.id.int))  # in key order: no deadlock
        new = [(e.subject[:36], e.id, e.time, None, int(e.subject[37:]), e.name, events.text(e)) for e in ordered]
        count, *inserted = await self._connection.fetchrow(_sql["insert_events"], new) or (0, [], [])
        return ordered if count == len(ordered) else _first(ordered, set(zip(*inserted, strict=True)))

    async def lock(self, message_ids: Sequence[MessageId]) -> dict[MessageId, Message]:
        """Lock those messages that are known, in key order."""
        bounds = min(message_ids), max(message_ids)
        rows = await self._connection.fetch(_sql["lock_messages"], message_ids, *bounds)
        return {id_: Message(*row) for id_, *row in rows}

    async def known(self, keys: Collection[Key]) -> dict[Key, Known]:
        """Of every delivery of these messages the status, and what is known of the deliveries with these keys."""
        bounds = min(keys)[0], max(keys)[0]
        rows = await self._connection.fetch(_sql["known_deliveries"], *zip(*keys, strict=True), *bounds)
        return {
            (id_, number): Known(status, rules, fold.from_json(facts) if facts else None)
            for id_, number, status, rules, facts in rows
        }

    async def histories(self, keys: Collection[Key]) -> dict[Key, list[AnyEvent]]:
        """Every stored event of these deliveries."""
        found: dict[Key, list[AnyEvent]] = {key: [] for key in keys}
        bounds = min(keys)[0], max(keys)[0]
        for id_, number, body in await self._connection.fetch(_sql["histories"], *zip(*keys, strict=True), *bounds):
            found[id_, number].append(events.decode(body))
        return found

    async def put_deliveries(self, deliveries: Mapping[Key, tuple[Delivery, Status]]) -> None:
        """Write what the events of these deliveries add up to."""
        rows = [(*key, RULES_VERSION, status, fold.to_json(each)) for key, (each, status) in deliveries.items()]
        await self._connection.execute(_sql["put_deliveries"], sorted(rows))

    async def insert_messages(self, states: Mapping[MessageId, NewState]) -> None:
        """Insert messages that were not there to be locked; Raced: one of them is there now."""
        if states:
            rows = [_message_row(id_, new) for id_, new in sorted(states.items())]
            if len(await self._connection.fetch(_sql["insert_messages"], rows)) != len(rows):
                raise Raced

    async def put_messages(self, states: Mapping[MessageId, NewState]) -> None:
        """Write these locked messages anew, all that is known of them, and raise their versions."""
        if states:
            rows = [_message_row(id_, new) for id_, new in states.items()]
            await self._connection.execute(_sql["put_messages"], rows, min(states), max(states))

    async def put_statuses(self, states: Mapping[MessageId, NewState]) -> None:
        """The same for what changes with the status: what describes the messages stays as it is."""
        if states:
            columns = list(states), [new.status for new in states.values()], [new.rollup for new in states.values()]
            await self._connection.execute(_sql["put_statuses"], *columns, min(states), max(states))

    async def erase_subjects(self, keys: Sequence[Key]) -> None:
        """Of messages that these deliveries describe."""
        if keys:
            await self._connection.execute(_sql["erase_subjects"], *zip(*keys, strict=True), fold.ERASED)

    async def mark_changed(self, message_ids: Sequence[MessageId], counts: str | None) -> None:
        """Mark them for the drainer, and what is to be added to the counters."""
        if message_ids or counts:
            await self._connection.execute(_sql["mark_changed"], message_ids, counts)

    async def put_terms(self, terms: Sequence[Term]) -> None:
        """Let the messages be found by them."""
        if terms:
            await self._connection.execute(_sql["put_terms"], terms)

    async def erase_terms(self, terms: Sequence[Term]) -> None:
        """The same addresses find these messages no more."""
        if terms:
            await self._connection.execute(_sql["erase_terms"], terms)

    async def put_issues(self, statuses: Mapping[MessageId, Status]) -> None:
        """These messages are issues; one that was another issue before is to be seen again."""
        if statuses:
            await self._connection.execute(_sql["put_issues"], [*statuses], [*statuses.values()])

    async def end_issues(self, message_ids: Sequence[MessageId]) -> None:
        """These are none any more."""
        if message_ids:
            await self._connection.execute(_sql["end_issues"], *_bounded(message_ids))

    async def put_bodies(self, redacted: Sequence[AnyEvent]) -> None:
        """Write stored events anew."""
        rows = [(str(each.message_id), each.id, events.text(each)) for each in redacted]
        if rows:
            ids = [row[0] for row in rows]
            await self._connection.execute(_sql["put_bodies"], *zip(*rows, strict=True), min(ids), max(ids))

    async def messages_after(self, position: MessageId, last: MessageId, count: int) -> list[MessageId]:
        """The next ones in the order of ids, up to the last."""
        return [row[0] for row in await self._connection.fetch(_sql["messages_after"], position, last, count)]

    async def newest_message(self) -> MessageId | None:
        """The one with the highest id."""
        found: MessageId | None = await self._connection.fetchval(_sql["newest_message"])
        return found

    async def outdated(self, message_ids: Sequence[MessageId]) -> list[MessageId]:
        """Those of which other rules folded a delivery."""
        rows = await self._connection.fetch(_sql["outdated"], *_bounded(message_ids), RULES_VERSION)
        return sorted(row[0] for row in rows)

    async def stored_deliveries(self, message_ids: Sequence[MessageId]) -> dict[Key, Stored]:
        """Every delivery of these messages."""
        rows = await self._connection.fetch(_sql["stored_deliveries"], *_bounded(message_ids))
        return {(id_, number): Stored(*stored) for id_, number, *stored in rows}

    async def stored_events(self, message_ids: Sequence[MessageId]) -> dict[Key, list[AnyEvent]]:
        """Every event of these messages."""
        found: dict[Key, list[AnyEvent]] = {}
        for id_, number, body in await self._connection.fetch(_sql["stored_events"], *_bounded(message_ids)):
            found.setdefault((id_, number), []).append(events.decode(body))
        return found

    async def differing_messages(self, states: Mapping[MessageId, NewState]) -> dict[MessageId, Differing]:
        """Those that are stored otherwise; what has no description is to have none."""
        rows = [_message_row(id_, new) for id_, new in states.items()]
        found = await self._connection.fetch(_sql["differing_messages"], rows, min(states), max(states))
        return {id_: Differing(*differing) for id_, *differing in found}

    async def resume_refold(self, id_: int | None, scope: str) -> Run:
        """How far this refold is; without an id the one of this scope that is not finished, else a new one."""
        id_ = id_ or await self._connection.fetchval(_sql["unfinished_refold"], RULES_VERSION, scope)
        if id_ is None:
            new = tally.to_json(NEW_RUN.tally)
            id_ = await self._connection.fetchval(_sql["begin_refold"], RULES_VERSION, scope, new)
        [(position, told, finished)] = await self._connection.fetch(_sql["refold"], id_)
        return Run(id_, position, tally.from_json(told), finished)

    async def advance_refold(self, run: Run) -> None:
        """Keep how far it is."""
        told = tally.to_json(run.tally)
        await self._connection.execute(_sql["advance_refold"], run.id, run.position, told, run.finished)


def _bounded(message_ids: Sequence[MessageId]) -> tuple[Sequence[MessageId], MessageId, MessageId]:
    return message_ids, min(message_ids), max(message_ids)


def _first(ordered: Sequence[AnyEvent], inserted: Container[tuple[UUID, UUID]]) -> list[AnyEvent]:
    first = {(event.message_id, event.id): event for event in reversed(ordered)}
    return [event for key, event in reversed(first.items()) if key in inserted]


def _message_row(id_: MessageId, new: NewState) -> tuple[Any, ...]:
    """In the order of the table's columns; version and times are the database's."""
    head = id_, None, None, None
    if new.description is None:
        return *head, 0, None, new.status, new.rollup, None, None, None, None, None, "[]", "{}"
    number, a = new.description
    texts = a.app, a.reference, a.sender, a.subject_line, a.rfc_message_id
    return (
        *head,
        a.recipient_count,
        number,
        new.status,
        new.rollup,
        *texts,
        to_json(a.tags).decode(),
        to_json(a.metadata).decode(),
    )
