"""Stores a batch of events, each once, and folds them into the deliveries that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

from status_store.fold import NOTHING, Delivery, fold, needs_history
from status_store.rollup import Rollup, rollup
from status_store.standing import status
from status_store.store import Key, Store, Work
from tracepost import crash, metrics
from tracepost.events import Accepted, AnyEvent, StatusChanged
from tracepost.problems import Problem


async def record(store: Store, batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
    """One transaction for the whole batch; what is about no delivery is refused."""
    refused = {index: _NO_DELIVERY for index, event in enumerate(batch) if not _of_a_delivery(event)}
    events = [event for index, event in enumerate(batch) if index not in refused]
    if events:
        async with store.work() as work:
            fresh = await work.add(events)
            crash.point("status-store.events-inserted")
            if fresh:
                await _fold(work, fresh)
        crash.point("status-store.committed")
        _measure(events, fresh)
    return refused


_NO_DELIVERY = Problem(
    code="no-delivery", title="The event is about no delivery", detail="its subject must be <message_id>/<n>"
)


def _of_a_delivery(event: AnyEvent) -> bool:
    head, _, number = event.subject.partition("/")
    return head != "recipient" and bool(number) and not isinstance(event.data, StatusChanged)


async def _fold(work: Work, fresh: Sequence[AnyEvent]) -> None:
    new: defaultdict[Key, list[AnyEvent]] = defaultdict(list)
    for event in fresh:
        new[event.message_id, event.recipient_no].append(event)
    message_ids = {message_id for message_id, _ in new}
    before_rollups = await work.lock(message_ids)
    known = await work.deliveries(message_ids)
    changed: dict[Key, Delivery] = {}
    for key, events in new.items():
        before = known.get(key, NOTHING)
        whole = needs_history(before, events)
        changed[key] = fold(await work.history(key)) if whole else fold(events, before)
    await work.put_deliveries({key: (each, status(each).status) for key, each in changed.items()})
    if accepted := {event.message_id: event.data for event in fresh if isinstance(event.data, Accepted)}:
        await work.put_accepted(accepted)
    rollups = _rollups(known | changed)
    changed_rollups = {id_ for id_, each in rollups.items() if asdict(each) != before_rollups[id_]}
    await work.put_rollups(rollups, changed_rollups)


def _rollups(deliveries: Mapping[Key, Delivery]) -> dict[UUID, Rollup]:
    by_message: defaultdict[UUID, list[Delivery]] = defaultdict(list)
    for (message_id, _), delivery in deliveries.items():
        by_message[message_id].append(delivery)
    return {message_id: _rollup(each) for message_id, each in by_message.items()}


def _rollup(deliveries: Sequence[Delivery]) -> Rollup:
    counts = [each.accepted.data.recipient_count for each in deliveries if each.accepted]
    return rollup((status(each).status for each in deliveries), max(counts, default=0))


def _measure(events: Sequence[AnyEvent], fresh: Sequence[AnyEvent]) -> None:
    now = datetime.now(UTC)
    metrics.FOLD_BATCH.observe(len(events))
    metrics.DUPLICATES.inc(len(events) - len(fresh))
    for event in fresh:
        metrics.FOLD_LAG.observe((now - event.time).total_seconds())
