"""Counts for operators what becomes of deliveries to the destinations that are watched, and how old the keys are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tracepost import metrics
from tracepost.dkim_keys import of_sender
from tracepost.events import Bounced, Complained, Data, Delivered

if TYPE_CHECKING:
    from tracepost.dkim_private import Key

OTHER = "other"  # than the watched ones, of which there may be any number


def count(watched: Collection[str], destination: str, data: Data) -> None:
    """One delivery more with this outcome; what is none does not count."""
    if outcome := _outcome(data):
        metrics.OUTCOMES.labels(destination if destination in watched else OTHER, outcome).inc()


def _outcome(data: Data) -> str | None:
    match data:
        case Delivered():
            return "delivered"
        case Bounced(bounce_class=bounce_class):
            return bounce_class
        case Complained(feedback_type="abuse" | "fraud" | "virus" | "other"):
            return "complaint"
        case _:
            return None


def keys(known: Mapping[str, Sequence[Key]]) -> None:
    """Whenever it is asked for, tell since when each key signs that signs then."""
    for domain, all_of_it in known.items():
        for algorithm in {key.algorithm for key in all_of_it}:
            metrics.DKIM_KEY_BEGAN.labels(domain, algorithm).set_function(partial(_began, known, domain, algorithm))


def _began(known: Mapping[str, Sequence[Key]], domain: str, algorithm: str) -> float:
    signing = of_sender(known, domain, datetime.now(UTC))
    return max((key.begins.timestamp() for key in signing if key.begins and key.algorithm == algorithm), default=0.0)
