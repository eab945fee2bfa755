"""The status of a message with several recipients, rolled up from the statuses of its deliveries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from status_store.standing import PRECEDENCE, Status

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
