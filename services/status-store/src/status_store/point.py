"""One message with its deliveries: as it is read, and as it is told; pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_core import to_json

from status_store.badge import tracked
from status_store.fold import Delivery
from status_store.standing import status


class Point(NamedTuple):
    """A message: whose it is, its version, its status in words, its row as JSON, what is known of its deliveries."""

    app: str | None
    version: int
    shown_as: str
    row: str
    deliveries: dict[int, Delivery]


def etag(found: Point) -> str:
    """What changes with the message."""
    return f'"{found.version}"'


def told(found: Point) -> bytes:
    """The answer's JSON."""
    deliveries = [_delivery(number, each) for number, each in found.deliveries.items()]
    # The row is JSON as the database made it: to read it and write it again would cost as much as all the rest.
    return b"%s,%s" % (found.row[:-1].encode(), to_json({"shown_as": found.shown_as, "deliveries": deliveries})[1:])


def _delivery(number: int, known: Delivery) -> dict[str, Any]:
    standing = status(known)
    return {
        "recipient_no": number,
        "recipient": known.accepted.data.recipient if known.accepted else None,
        "read_tracking": tracked(known),
        "status": standing.status,
        "shown_as": standing.shown_as,
        "cause": standing.cause,
        "notes": standing.notes,
        "since": standing.time,
        "why": {"rule": standing.rule, "event_id": standing.event_id},
        "delivered_at": known.delivered.time if known.delivered else None,
        "opens": {
            verdict: {"first": o.first.time, "last": o.last.time, "count": o.count}
            for verdict, o in known.opens.items()
        },
    }
