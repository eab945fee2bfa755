"""Learns from events whom not to write to, and forgets the addresses that are to be erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from sender import watch
from sender.suppression import Evidence, Kind, kind, scope
from sender.suppression_store import Learnt, Recipient, Suppressions
from tracepost.addresses import masked, normal
from tracepost.events import AnyEvent, Bounced, Complained, Erased
from tracepost.problems import Problem

log = structlog.get_logger()

MOST_WORDS = 1_000  # of a remote server are kept

_NO_DELIVERY = Problem(
    code="no-delivery", title="The event is about no delivery", detail="its subject must be <message_id>/<n>"
)


async def learn(
    suppressions: Suppressions, batch: Sequence[AnyEvent], watched: Collection[str] = ()
) -> Mapping[int, Problem]:
    """One transaction for the whole batch; what teaches something about no delivery in particular is refused."""
    telling = {index: (event, found) for index, event in enumerate(batch) if (found := kind(event.data))}
    refused = {index: _NO_DELIVERY for index, (event, _) in telling.items() if not _of_a_delivery(event)}
    useful = [each for index, each in telling.items() if index not in refused]
    failed = [event for event in batch if isinstance(event.data, Bounced | Complained) and _of_a_delivery(event)]
    recipients = await suppressions.recipients({(event.message_id, event.recipient_no) for event in failed})
    for event in failed:
        if recipient := recipients.get((event.message_id, event.recipient_no)):
            watch.count(watched, recipient.destination, event.data)
    learnt = [
        _learnt(event, found, recipient)
        for event, found in useful
        if (recipient := recipients.get((event.message_id, event.recipient_no)))
    ]
    erased = _erased(batch)
    if learnt or erased:
        await suppressions.learn(learnt, erased, _of_erased(batch))
        for each in learnt:
            about = masked(each.address) if each.address else each.address_key
            log.info("learnt", recipient=about, kind=each.evidence.kind, event_id=each.evidence.id)
    if strange := len(useful) - len(learnt):
        log.info("of unknown deliveries", events=strange)
    return refused


def _of_a_delivery(event: AnyEvent) -> bool:
    head, _, number = event.subject.partition("/")
    return head != "recipient" and bool(number)


def _learnt(event: AnyEvent, found: Kind, recipient: Recipient) -> Learnt:
    evidence = Evidence(
        id=event.id,
        kind=found,
        at=event.time,
        app=scope(found, recipient.app),
        message_id=event.message_id,
        recipient_no=event.recipient_no,
        words=event.data.diagnostic[:MOST_WORDS] if isinstance(event.data, Bounced) else None,
    )
    return Learnt(recipient.address_key, recipient.address and normal(recipient.address), evidence)


def _erased(batch: Iterable[AnyEvent]) -> dict[str, datetime]:
    erased: dict[str, datetime] = {}
    for event in batch:
        if isinstance(event.data, Erased):
            key = event.data.address_key
            erased[key] = max(erased.get(key, event.time), event.time)
    return erased


def _of_erased(batch: Iterable[AnyEvent]) -> set[tuple[UUID, int]]:
    return {
        (event.message_id, event.recipient_no)
        for event in batch
        if isinstance(event.data, Erased) and _of_a_delivery(event)
    }
