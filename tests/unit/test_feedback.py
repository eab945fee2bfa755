"""What the sender learns from events: exact evidence about deliveries of ours, and what is to be forgotten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sender.feedback import MOST_WORDS, learn
from sender.suppression_store import Learnt, Recipient, Suppressions
from tests.unit.samples import KEYRING, MESSAGE, NOON, sample
from tracepost.events import Bounced, Complained, Erased, Replied, Withdrawn, event

OTHER = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
HARD = Bounced(bounce_class="hard", category="invalid_recipient", diagnostic="550 no such user", origin="dsn")
OPT_OUT = Complained(feedback_type="opt-out", origin="arf")


class Remembering(Suppressions):
    """A list with one delivery that may be looked up; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Sequence[Learnt], Mapping[str, datetime]]] = []

    async def recipients(self, deliveries: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], Recipient]:
        ann = Recipient("Ann@Example.org", KEYRING.address_key("ann@example.org"), "shop", "example.org")
        return {key: ann for key in deliveries if key == (MESSAGE, 1)}

    async def learn(
        self,
        learnt: Sequence[Learnt],
        erased: Mapping[str, datetime] | None = None,
        deliveries: Collection[tuple[UUID, int]] = (),
    ) -> None:
        self.deliveries = set(deliveries)
        self.told.append((learnt, erased or {}))


async def learnt(*events: Any) -> list[Learnt]:
    known = Remembering()
    assert await learn(known, events) == {}
    return [each for told, _ in known.told for each in told]


async def test_evidence_names_its_event_its_delivery_and_the_servers_words() -> None:
    bounced = sample(HARD)
    [(key, address, evidence)] = await learnt(bounced)
    assert (key, address) == (KEYRING.address_key("ann@example.org"), "ann@example.org")
    assert (evidence.id, evidence.kind, evidence.at, evidence.app) == (bounced.id, "hard_bounce", NOON, None)
    assert (evidence.message_id, evidence.recipient_no, evidence.words) == (MESSAGE, 1, "550 no such user")


async def test_an_opt_out_is_about_the_app_whose_message_it_was() -> None:
    [(_, _, evidence)] = await learnt(sample(OPT_OUT))
    assert (evidence.kind, evidence.app) == ("opt_out", "shop")


async def test_a_batch_is_learnt_at_once() -> None:
    known = Remembering()
    await learn(known, [sample(HARD), sample(Replied()), sample(OPT_OUT)])
    [(told, _)] = known.told
    assert [each.evidence.kind for each in told] == ["hard_bounce", "opt_out"]


async def test_a_delivery_that_is_not_ours_teaches_nothing() -> None:
    assert await learnt(event("bounce-ingest", OTHER, 1, HARD), event("bounce-ingest", MESSAGE, 2, HARD)) == []


async def test_what_says_nothing_of_an_address_asks_for_nothing() -> None:
    known = Remembering()
    await learn(known, [sample(Replied()), sample(Withdrawn(by="ann"))])
    assert known.told == []


async def test_evidence_about_no_delivery_is_refused_alone() -> None:
    known = Remembering()
    refused = await learn(known, [event("x", MESSAGE, None, HARD), sample(HARD)])
    assert {index: problem.code for index, problem in refused.items()} == {0: "no-delivery"}
    assert [each.evidence.kind for each in known.told[0][0]] == ["hard_bounce"]


async def test_an_erasure_names_the_address_by_its_key_alone() -> None:
    known = Remembering()
    erased = Erased(by="ann", address_key="00ff")
    bare = sample(erased).model_copy(update={"subject": "recipient/00ff", "time": NOON + timedelta(seconds=1)})
    await learn(known, [bare, sample(erased)])
    assert known.told == [([], {"00ff": bare.time})]
    assert known.deliveries == {(MESSAGE, 1)}


async def test_of_a_server_that_says_too_much_the_beginning_is_kept() -> None:
    [(_, _, evidence)] = await learnt(sample(HARD.model_copy(update={"diagnostic": "x" * 9_999})))
    assert evidence.words == "x" * MOST_WORDS
