"""What several tests need: send requests, one event of every kind, keys, and messages as they come from the broker."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import settings

from tracepost import requests
from tracepost.broker import Incoming
from tracepost.events import (
    Accepted,
    AnyEvent,
    Bounced,
    Cancelled,
    Complained,
    Data,
    Deferred,
    Delivered,
    Erased,
    Opened,
    Rejected,
    Replied,
    StatusChanged,
    Withdrawn,
    event,
)
from tracepost.problems import Invalid, Problem
from tracepost.requests import SendRequest
from tracepost.tokens import Keyring

MESSAGE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
NOON = datetime(2026, 3, 4, 12, 30, 15, 123456, UTC)
DAY = 86_400
KEYRING = Keyring({1: b"one" * 11})

modest = settings(max_examples=60, deadline=None)
"""Enough to find what is likely; the time of one example depends on what else the machine does."""

ACCEPTED = Accepted(
    recipient="ann@example.org",
    recipient_count=2,
    sender="Shop <shop@example.org>",
    subject_line="Ärger",
    rfc_message_id="<1@bounces.example>",
    app="help-desk",
    reference="T-1",
    tags=("a", "b"),
    metadata={"k": "v"},
    track_opens="day",
    has_html=True,
    size=7,
)
DELIVERED = Delivered(attempt=2, smtp_code=250, response="2.0.0 OK", remote_ip="192.0.2.1", duration=0.5, origin="smtp")
RETURNED = Bounced(
    smtp_code=550, enhanced_code="5.1.1", bounce_class="hard", category="invalid_recipient", origin="webhook:ses"
)
DATA: tuple[Data, ...] = (
    ACCEPTED,
    Rejected(reason="hard_bounce", evidence_event=MESSAGE, evidence_message=MESSAGE, since=NOON, until=NOON),
    Deferred(attempt=1, smtp_code=451, bounce_class="soft", category="greylisted", origin="smtp", next_attempt_at=NOON),
    DELIVERED,
    RETURNED,
    Complained(feedback_type="not-spam", reporter="fbl.example", certainty="candidate", origin="arf"),
    Opened(verdict="proxied", rule="gmail-image-proxy", client="Gmail", ip="192.0.2.0/24"),
    Replied(),
    Cancelled(by="agent 7", reason="sent by mistake"),
    Withdrawn(by="ann"),
    Erased(by="ann", address_key="00ff"),
    StatusChanged(status="read", version=3, reference="T-1", app="help-desk", rollup={"read": 1}),
)


def sample(data: Data, **attributes: Any) -> AnyEvent:
    """The event of a delivery; of a message whole where a status is told."""
    number = None if isinstance(data, StatusChanged) else 1
    return event("sender", MESSAGE, number, data, **{"time": NOON} | attributes)


def uuid7_at(seconds: float) -> UUID:
    """A UUIDv7 of that time since the epoch."""
    tail = random.getrandbits(74)
    return UUID(int=int(seconds * 1000) << 80 | 7 << 76 | tail >> 62 << 64 | 2 << 62 | tail & (1 << 62) - 1)


def body(**fields: Any) -> bytes:
    """A send request in JSON; `sender` stands for `from`, and None leaves a field out."""
    whole = {
        "message_id": str(uuid7_at(time.time())),
        "from": fields.pop("sender", "Shop <shop@example.org>"),
        "to": ["ann@example.org"],
        "subject": "Your order",
        "text": "It is on its way.",
    } | fields
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def request(**fields: Any) -> SendRequest:
    return requests.decode(body(**fields))


def refused(raw: bytes) -> Problem:
    """The problem that a request is refused with."""
    try:
        accepted = requests.decode(raw)
    except Invalid as error:
        return error.problem
    raise AssertionError(f"was accepted: {accepted!r}")


def told(problem: Problem) -> dict[str, str]:
    """What is said of each pointer."""
    return {fault.pointer: fault.detail for fault in problem.errors}


def incoming(raw: bytes, content_type: str | None = None, **properties: Any) -> Incoming:
    """A message as the consumer hands it to a decoder."""
    empty = dict.fromkeys(("correlation_id", "message_id", "reply_to", "user_id"))
    fields = {"headers": {}, "exchange": "", "routing_key": "", "delivery_tag": 1, **empty, **properties}
    return Incoming(body=raw, content_type=content_type, **fields)
