"""Stores a batch of events, each once, and folds them into the deliveries that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from status_store.counters import Counted, happened, moved, summed, to_text
from status_store.fold import NOTHING, RULES_VERSION, Delivery, fold, needs_history, private
from status_store.rollup import ISSUES, Description, by_message, descriptions, rolled_up
from status_store.standing import Status, applying
from status_store.store import Key, Known, Message, NewState, Raced, Store, Work
from status_store.terms import erased, terms
from tracepost import crash, metrics
from tracepost.events import AnyEvent, Erased, StatusChanged
from tracepost.problems import Problem

log = structlog.get_logger()


async def record(store: Store, batch: Sequence[AnyEvent]) -> Mapping[int, Problem]:
    """One transaction for the whole batch; what is about no delivery, or one that is not kept, is refused."""
    months = store.months
    refused: dict[int, Problem] = {}
    about_addresses: set[int] = set()
    for index, event in enumerate(batch):
        if _of_an_address(event):
            about_addresses.add(index)  # of which nothing is stored here
        elif not _of_a_delivery(event):
            refused[index] = _NO_DELIVERY
        elif not months.cover(event.subject[:36]):
            refused[index] = _OUT_OF_RETENTION
    events = [event for index, event in enumerate(batch) if index not in refused and index not in about_addresses]
    if events:
        fresh = await _store_and_fold(store, events)
        crash.point("status-store.committed")
        _measure(events, fresh)
    return refused


_NO_DELIVERY = Problem(
    code="no-delivery", title="The event is about no delivery", detail="its subject must be <message_id>/<n>"
)
_OUT_OF_RETENTION = Problem(
    code="out-of-retention",
    title="The message's month is not kept",
    detail="its message_id is a UUIDv7 of a time that is dropped already or yet to come; see RETENTION_MONTHS",
)


def _of_an_address(event: AnyEvent) -> bool:
    return event.subject.startswith("recipient/") and isinstance(event.data, Erased)


def _of_a_delivery(event: AnyEvent) -> bool:
    head, _, number = event.subject.partition("/")
    return head != "recipient" and bool(number) and not isinstance(event.data, StatusChanged)


async def _store_and_fold(store: Store, events: Sequence[AnyEvent]) -> list[AnyEvent]:
    while True:
        try:
            async with store.work() as work:
                fresh = await work.add(events)
                crash.point("status-store.events-inserted")
                if fresh:
                    await _fold(work, fresh, store.keyring.address_key)
        except Raced:
            log.debug("raced for new messages", events=len(events))
        else:
            return fresh


async def _fold(work: Work, fresh: Sequence[AnyEvent], address_key: Callable[[str], str]) -> None:
    new: defaultdict[Key, list[AnyEvent]] = defaultdict(list)
    for event in fresh:
        new[event.subject[:36], int(event.subject[37:])].append(event)
    ids = sorted({message_id for message_id, _ in new})
    messages = await work.lock(ids)
    known = await work.known([key for key in new if key[0] in messages]) if messages else {}
    again = [key for key, events in new.items() if key in known and _from_the_start(known[key], events)]
    histories = await work.histories(again) if again else {}
    folded = {
        key: fold(histories[key]) if key in histories else fold(events, _facts(known.get(key)))
        for key, events in new.items()
    }
    statuses = {key: applying(each)[0].status for key, each in folded.items()}
    together = by_message({key: each.status for key, each in known.items()} | statuses)
    described = descriptions(new, folded)
    states = {id_: _state(messages.get(id_), together[id_], described.get(id_)) for id_ in ids}
    # Messages come first: who has them has their deliveries too, and waits for nobody any more.
    await work.insert_messages({id_: state for id_, state in states.items() if id_ not in messages})
    await work.put_messages({id_: state for id_, state in states.items() if id_ in messages and state.description})
    await work.put_statuses({id_: state for id_, state in states.items() if id_ in messages and not state.description})
    await work.put_deliveries({key: (each, statuses[key]) for key, each in folded.items()})
    await work.put_terms(terms(new, folded, described, address_key))
    await _put_issues(work, messages, states)
    await _redact(work, new, folded)
    counts = summed(_counts(messages, states, new, known, folded))
    await work.mark_changed([id_ for id_, state in states.items() if state.changed], to_text(counts))


async def _put_issues(work: Work, before: Mapping[str, Message], after: Mapping[str, NewState]) -> None:
    moved = {id_: new.status for id_, new in after.items() if id_ not in before or before[id_].status != new.status}
    await work.put_issues({id_: status for id_, status in moved.items() if status in ISSUES})
    ended = [id_ for id_, status in moved.items() if status not in ISSUES]
    await work.end_issues([id_ for id_ in ended if id_ in before and before[id_].status in ISSUES])


async def _redact(work: Work, new: Mapping[Key, Sequence[AnyEvent]], folded: Mapping[Key, Delivery]) -> None:
    """Write anew what is stored of erased recipients, and of opens after a withdrawal, without what is personal."""
    if any(known.erased for known in folded.values()):
        now = [key for key, events in new.items() if any(isinstance(e.data, Erased) for e in events)]
        await work.erase_subjects(now)
        await work.erase_terms(erased(new))
    if keys := [key for key, known in folded.items() if known.erased or known.withdrawn]:
        stored = await work.histories(keys)
        await work.put_bodies([less for key in keys for each in stored[key] if (less := private(each, folded[key]))])


def _counts(
    before: Mapping[str, Message],
    after: Mapping[str, NewState],
    new: Mapping[Key, Sequence[AnyEvent]],
    known: Mapping[Key, Known],
    folded: Mapping[Key, Delivery],
) -> Iterator[tuple[Counted, int]]:
    places = {}
    for id_, state in after.items():
        message = before.get(id_)
        places[id_] = place = state.place(message)
        yield from moved(id_, message and message.place, place)
    for key, events in new.items():
        place = places[key[0]]
        yield from happened(events, _facts(known.get(key)), folded[key], place.app if place else "")


def _facts(known: Known | None) -> Delivery:
    return (known and known.delivery) or NOTHING


def _from_the_start(known: Known, events: Iterable[AnyEvent]) -> bool:
    """What other rules folded, and what a withdrawal takes back, cannot be gone on with."""
    return known.rules_version != RULES_VERSION or needs_history(_facts(known), events)


def _state(before: Message | None, statuses: Iterable[Status], said: Description | None) -> NewState:
    # Whichever recipients' `accepted` come, and in whatever order: in the end the lowest number describes the message.
    if said and before and before.described_by is not None and before.described_by < said.number:
        said = None
    count = said.accepted.recipient_count if said else before.recipient_count if before else 0
    status, text = rolled_up(tuple(sorted(statuses)), count)
    # Who knows a message by its reference could make nothing of what was told before that was known.
    first_described = before is not None and before.described_by is None and said is not None
    return NewState(status, text, before is None or text != before.rollup or first_described, said)


def _measure(events: Collection[AnyEvent], fresh: Collection[AnyEvent]) -> None:
    now = datetime.now(UTC)
    metrics.FOLD_BATCH.observe(len(events))
    metrics.DUPLICATES.inc(len(events) - len(fresh))
    for event in fresh:
        metrics.FOLD_LAG.observe((now - event.time).total_seconds())
