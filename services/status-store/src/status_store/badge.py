"""What a browser is told of a message for its badge: no address beyond a masked one; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from status_store.fold import ERASED, Delivery, Fact
from status_store.rollup import ISSUES, SHOWN_AS
from status_store.standing import NO_CAUSE, NOTES, Row, applying, reading
from status_store.words import cause_text
from tracepost.addresses import masked
from tracepost.events import Bounced, Cancelled, Complained, Data, Deferred, Rejected

_ADDRESS = re.compile(r"""[^\s<>()\[\]"',;:@]+@[^\s<>()\[\]"',;:@]+""")


def badge(message: Mapping[str, Any], deliveries: Mapping[int, Delivery]) -> dict[str, Any]:
    """Of a message's row and what is known of its deliveries; a cause has a code, for words in other languages."""
    rollup, told = message["rollup"], [_delivery(number, known) for number, known in deliveries.items()]
    tracking = any(each["read_tracking"] for each in told)
    return {
        "message_id": message["message_id"],
        "version": message["version"],
        "status": message["status"],
        "shown_as": rollup.get("shown_as", SHOWN_AS[message["status"]]),
        "rule": rollup.get("rule"),
        "counts": {"recipients": max(message["recipient_count"], len(told)), "read": 0, **rollup.get("counts", {})},
        "read_tracking": tracking,
        "notes": [] if tracking or not told else [_TRACKING_OFF],
        "deliveries": told,
    }


_TRACKING_OFF = {"code": "tracking_off", "text": "read tracking off"}
_PROCESSING = {"code": "processing", "text": "the recipient's server may still process it"}


def tracked(known: Delivery) -> bool:
    """Whether an open would be seen: there is a pixel in its HTML."""
    accepted = known.accepted.data if known.accepted else None
    return accepted is None or (accepted.track_opens != "off" and accepted.has_html)


def _delivery(number: int, known: Delivery) -> dict[str, Any]:
    row, fact = applying(known)
    data = fact.data if isinstance(fact, Fact) and row.status not in NO_CAUSE else None
    cause, said, read = _cause(data), _refusal(data), reading(known)
    return {
        "recipient_no": number,
        "recipient": _recipient(known),
        "status": row.status,
        "shown_as": row.shown_as,
        "cause": cause,
        "cause_text": cause_text(cause),
        "said": _ADDRESS.sub(lambda found: masked(found[0]), said.diagnostic) if said and said.diagnostic else None,
        "remote_mta": said and said.remote_mta,
        "read_tracking": tracked(known),
        "notes": list(_notes(row, fact.time if fact else None, known)),
        "delivered_at": known.delivered and known.delivered.time,
        "read_at": read and read.time,
        "failed_at": fact.time if fact and row.status in ISSUES else None,
        "since": fact and fact.time,
    }


def _recipient(known: Delivery) -> str | None:
    address = known.accepted.data.recipient if known.accepted else None
    return None if address in (None, ERASED) else masked(address)


def _refusal(data: Data | None) -> Bounced | Deferred | None:
    return data if isinstance(data, Bounced | Deferred) else None


def _cause(data: Data | None) -> str | None:
    match data:
        case Bounced() | Deferred():
            return data.category
        case Rejected():
            return f"suppressed_{data.reason}"
        case Complained():
            return f"complaint_{data.feedback_type}"
        case Cancelled():
            return "cancelled"
    return None


def _notes(row: Row, since: datetime | None, known: Delivery) -> Iterator[dict[str, Any]]:
    if row.status == "delivered":
        yield _PROCESSING
    if row.status in ISSUES and known.delivered and since and since > known.delivered.time:
        later = since - known.delivered.time
        text = f"delivered, then returned {_span(later)} later"
        yield {"code": "returned_later", "text": text, "seconds": round(later.total_seconds())}
    yield from ({"code": note.code, "text": note.text} for note in NOTES if note.applies(known))
    if not tracked(known):
        yield _TRACKING_OFF


def _span(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
