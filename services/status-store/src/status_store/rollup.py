"""The status of a message with several recipients, rolled up from the statuses of its deliveries."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import to_json

from status_store.fold import Delivery, redact
from status_store.standing import PRECEDENCE, Status
from tracepost.events import Accepted, AnyEvent

SHOWN_AS: dict[Status, str] = {row.status: row.shown_as for row in PRECEDENCE}
ISSUES: tuple[Status, ...] = ("spam", "hard_bounce", "rejected", "failed")
UNDER_WAY: tuple[Status, ...] = ("queued", "deferred", "unknown")


@dataclass(frozen=True, slots=True)
class Rollup:
    """The status of a message, the rule that gave it, and how many deliveries have each status."""

    status: Status
    shown_as: str
    rule: str
    counts: dict[Status, int]


class Description(NamedTuple):
    """What a message says of itself, in the `accepted` of this recipient."""

    number: int
    accepted: Accepted


def rollup(statuses: Iterable[Status], recipient_count: int) -> Rollup:
    """Roll up the deliveries that are known; what `recipient_count` (0: not known) names beyond them is queued."""
    counts = Counter(statuses)
    counts["queued"] += max(0, recipient_count - counts.total())
    status, rule = _decide(counts)
    return Rollup(status, _told(status, counts), rule, {each: counts[each] for each in SHOWN_AS if counts[each]})


def _decide(counts: Counter[Status]) -> tuple[Status, str]:
    for issue in ISSUES:
        if counts[issue]:
            return issue, "the gravest issue"
    if counts["read"]:
        return "read", "read by at least one recipient"
    for status in UNDER_WAY:
        if counts[status]:
            return status, "the least advanced delivery"
    # A cancelled delivery is settled: it holds up nobody else's.
    if counts["delivered"]:
        return "delivered", "delivered to everyone for whom it was not cancelled"
    return ("cancelled", "cancelled for everyone") if counts["cancelled"] else ("queued", "nothing known yet")


def _told(status: Status, counts: Counter[Status]) -> str:
    text, total = SHOWN_AS[status], counts.total()
    return f"{text} ({counts[status]} of {total})" if total > 1 and status in (*ISSUES, "read") else text


def shown(row: str) -> dict[str, Any]:
    """A message's row, from its JSON, with its roll-up's words beside its status."""
    told: dict[str, Any] = json.loads(row)
    return told | {"shown_as": told["rollup"].get("shown_as", SHOWN_AS[told["status"]])}


@lru_cache(4096)
def rolled_up(statuses: tuple[Status, ...], recipient_count: int) -> tuple[Status, str]:
    """The status, and the roll-up as it is stored; kept for the next message whose statuses are the same, sorted."""
    rolled = rollup(statuses, recipient_count)
    return rolled.status, to_json(rolled).decode()


def by_message(statuses: Mapping[tuple[str, int], Status]) -> Mapping[str, Sequence[Status]]:
    """Sort statuses of deliveries (message_id, recipient_no) by their messages."""
    found: defaultdict[str, list[Status]] = defaultdict(list)
    for (id_, _), each in statuses.items():
        found[id_].append(each)
    return found


def descriptions(
    events: Mapping[tuple[str, int], Sequence[AnyEvent]], folded: Mapping[tuple[str, int], Delivery]
) -> dict[str, Description]:
    """Of each message the lowest recipient whose `accepted` is among the events and counts: that may describe it."""
    found: dict[str, Description] = {}
    for key, said in events.items():
        known = folded[key]
        for event in said:
            if isinstance(event.data, Accepted) and known.accepted and known.accepted.event_id == event.id:
                id_, number = key
                if id_ not in found or number < found[id_].number:
                    found[id_] = Description(number, redact(event.data) if known.erased else event.data)
    return found
