"""The suppression list in PostgreSQL: evidence, the entries that follow from it, and what counts now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sender.suppression import Entry, Evidence, entries
from tracepost import postgres
from tracepost.events import RejectionReason
from tracepost.postgres import Connection

ADDRESSES_AT_ONCE = 1_000  # whose entries are made again before others may go on

_sql = postgres.load("sender")


class Learnt(NamedTuple):
    """Evidence about an address in normal form, which is None once erased."""

    address_key: str
    address: str | None
    evidence: Evidence


class Recipient(NamedTuple):
    """Whom a delivery is for, the address being None once erased, whose message it is, and where it went."""

    address: str | None
    address_key: str
    app: str
    destination: str


class Rejection(NamedTuple):
    """Why mail to an address would be rejected."""

    address_key: str
    app: str | None
    reason: RejectionReason
    since: datetime
    until: datetime | None
    evidence_event: UUID | None
    evidence_message: UUID | None


class Listed(NamedTuple):
    """An entry that holds; `seq` is its place in the list, the address is None once erased."""

    seq: int
    address: str | None
    app: str | None
    reason: RejectionReason
    since: datetime
    until: datetime | None
    evidence: UUID
    message_id: UUID | None
    words: str | None
    by: str | None
    why: str | None


class Suppressions:
    """Every statement about suppressions, but for those that the queue makes."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool

    async def recipients(self, deliveries: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], Recipient]:
        """The recipients of those deliveries that are ours."""
        if not deliveries:
            return {}
        rows = await self._pool.fetch(_sql["suppression_recipients"], *zip(*deliveries, strict=True))
        return {(message_id, number): Recipient(*told) for message_id, number, *told in rows}

    async def learn(
        self,
        learnt: Sequence[Learnt],
        erased: Mapping[str, datetime] | None = None,
        deliveries: Collection[tuple[UUID, int]] = (),
    ) -> None:
        """Add evidence and erase addresses (by key) as of a time, all or nothing; what is known changes nothing.

        Of `deliveries` the recipient is forgotten once they are done.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if deliveries:
                await connection.execute(_sql["put_erasures"], *zip(*sorted(deliveries), strict=True))
            await _put_addresses(connection, learnt, erased or {})
            if erased:
                await connection.execute(_sql["erase_suppression_evidence"], list(erased))
            rows = [(each.address_key, *_columns(each.evidence)) for each in learnt]
            if rows:
                await connection.execute(_sql["insert_suppression_evidence"], *zip(*rows, strict=True))
            await _make_entries(connection, sorted({each.address_key for each in learnt}))

    async def evidence(self, keys: Sequence[str], known_at: datetime | None = None) -> dict[str, list[Evidence]]:
        """All that is known of addresses, or was at a time; nothing of those that nothing is known of."""
        async with self._pool.acquire() as connection:
            return await _evidence(connection, keys, known_at)

    async def rejections(self, keys: Sequence[str], app: str | None) -> dict[str, Rejection]:
        """Of these addresses those that an app (None: no app in particular) does not write to."""
        rows = await self._pool.fetch(_sql["suppressed_among"], keys, app)
        return {row["address_key"]: Rejection(*row) for row in rows}

    async def page(
        self, app: str | None, reason: RejectionReason | None, before: int | None, count: int
    ) -> list[Listed]:
        """The newest entries that hold, of one app or of all, from `before` on."""
        return [Listed(*row) for row in await self._pool.fetch(_sql["suppression_page"], app, reason, before, count)]


async def _put_addresses(connection: Connection, learnt: Iterable[Learnt], erased: Mapping[str, datetime]) -> None:
    told: dict[str, tuple[str | None, datetime | None]] = dict.fromkeys(erased, (None, None))
    for each in sorted(learnt, key=lambda each: each.evidence.at):
        told[each.address_key] = each.address, each.evidence.at  # the newest
    rows = [(key, *told[key], erased.get(key)) for key in sorted(told)]  # in key order: no deadlock
    if rows:
        await connection.execute(_sql["put_suppression_addresses"], *zip(*rows, strict=True))


def _columns(evidence: Evidence) -> tuple[object, ...]:
    e = evidence
    told = e.reason, e.until, e.words, e.by, e.why
    return e.id, e.kind, e.at, e.app, e.message_id, e.recipient_no, *told


async def _evidence(
    connection: Connection, keys: Sequence[str], known_at: datetime | None = None
) -> dict[str, list[Evidence]]:
    found: defaultdict[str, list[Evidence]] = defaultdict(list)
    for key, *row in await connection.fetch(_sql["suppression_evidence"], keys, known_at):
        found[key].append(Evidence(*row))
    return dict(found)


async def _make_entries(connection: Connection, keys: Sequence[str]) -> None:
    """All the entries of these addresses, from all the evidence: it does not matter what came first."""
    for start in range(0, len(keys), ADDRESSES_AT_ONCE):
        some = keys[start : start + ADDRESSES_AT_ONCE]
        known = await _evidence(connection, some)
        rows = [(key, *_entry(entry)) for key in some for entry in entries(known[key])]
        names = [row[:3] for row in rows]
        kept = zip(*names, strict=True) if names else ([], [], [])
        await connection.execute(_sql["drop_suppressions"], some, *kept)
        if rows:
            await connection.execute(_sql["put_suppressions"], *zip(*rows, strict=True))


def _entry(entry: Entry) -> tuple[object, ...]:
    proof = entry.evidence.id, entry.evidence.message_id, entry.lift and entry.lift.id
    return entry.app, entry.reason, entry.since, entry.until, *proof
