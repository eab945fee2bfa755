"""Whom the sender no longer writes to: only exact evidence against the recipient suppresses."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import pytest

from sender.feedback import learn, reason
from sender.store import Queue
from tests.unit.samples import DATA, KEYRING, MESSAGE, NOON, sample
from tracepost.events import (
    BounceClass,
    Bounced,
    Complained,
    Data,
    Deferred,
    FeedbackType,
    Rejected,
    RejectionReason,
    Replied,
)

ADDRESS = "Ann@example.org"


def bounced(bounce_class: BounceClass = "hard", **fields: Any) -> Bounced:
    return Bounced(bounce_class=bounce_class, category="invalid_recipient", origin="dsn", **fields)


def complained(feedback_type: FeedbackType = "abuse", **fields: Any) -> Complained:
    return Complained(feedback_type=feedback_type, origin="arf", **fields)


class Remembering(Queue):
    """The queue, as far as suppressions go, with one delivery in it."""

    def __init__(self) -> None:
        self.suppressed: list[tuple[str, str, Rejected]] = []
        self.lifted: list[tuple[str, str, datetime]] = []

    async def recipient(self, message_id: UUID, recipient_no: int) -> str | None:
        return ADDRESS if (message_id, recipient_no) == (MESSAGE, 1) else None

    async def suppress(self, address_key: str, address: str, evidence: Rejected) -> None:
        self.suppressed.append((address_key, address, evidence))

    async def lift_complaint(self, address_key: str, address: str, at: datetime) -> None:
        self.lifted.append((address_key, address, at))


REASONS: dict[FeedbackType, RejectionReason | None] = {
    "abuse": "spam_complaint",
    "fraud": "spam_complaint",
    "virus": "spam_complaint",
    "other": "spam_complaint",
    "opt-out": "unsubscribed",
    "not-spam": None,
}


def test_every_complaint_is_decided() -> None:
    assert REASONS.keys() == set(get_args(FeedbackType))


@pytest.mark.parametrize(("kind", "expected"), REASONS.items())
def test_a_complaint_suppresses_by_its_type(kind: FeedbackType, expected: RejectionReason | None) -> None:
    assert reason(complained(kind)) == expected


@pytest.mark.parametrize("bounce_class", get_args(BounceClass))
def test_of_bounces_a_hard_one_alone_suppresses(bounce_class: BounceClass) -> None:
    assert reason(bounced(bounce_class)) == ("hard_bounce" if bounce_class == "hard" else None)


def test_a_dead_forward_suppresses_nobody() -> None:
    assert reason(bounced(forwarded_to="bob@example.org")) is None
    assert reason(bounced(forwarded_to="")) is None


@pytest.mark.parametrize("data", [each for each in DATA if not isinstance(each, Bounced | Complained)])
def test_no_other_event_suppresses(data: Data) -> None:
    assert reason(data) is None
    assert reason(Deferred(bounce_class="hard", category="invalid_recipient", origin="smtp")) is None


async def test_a_hard_bounce_suppresses_its_address_with_the_evidence() -> None:
    queue, event = Remembering(), sample(bounced())
    assert await learn(queue, KEYRING, [event]) == {}
    evidence = Rejected(reason="hard_bounce", since=NOON, evidence_event=event.id, evidence_message=MESSAGE)
    assert queue.suppressed == [(KEYRING.address_key("ann@example.org"), ADDRESS, evidence)]


async def test_not_spam_lifts_a_complaint_as_of_its_time() -> None:
    queue = Remembering()
    await learn(queue, KEYRING, [sample(complained("not-spam"))])
    assert queue.lifted == [(KEYRING.address_key(ADDRESS), ADDRESS, NOON)]
    assert queue.suppressed == []


@pytest.mark.parametrize(
    "data",
    [
        bounced(certainty="candidate"),
        complained(certainty="candidate"),
        complained("not-spam", certainty="candidate"),
        bounced("soft"),
        bounced(forwarded_to="bob@example.org"),
        Replied(),
    ],
)
async def test_what_is_not_sure_changes_nothing(data: Data) -> None:
    queue = Remembering()
    await learn(queue, KEYRING, [sample(data)])
    assert (queue.suppressed, queue.lifted) == ([], [])


async def test_a_delivery_that_is_not_ours_changes_nothing() -> None:
    queue = Remembering()
    other = sample(bounced()).model_copy(update={"subject": f"{MESSAGE}/2"})
    await learn(queue, KEYRING, [other])
    assert queue.suppressed == []


async def test_every_event_of_a_batch_counts() -> None:
    queue = Remembering()
    await learn(queue, KEYRING, [sample(complained()), sample(Replied()), sample(bounced())])
    assert [evidence.reason for _, _, evidence in queue.suppressed] == ["spam_complaint", "hard_bounce"]
