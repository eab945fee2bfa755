"""Who forges a report changes no status and has nobody suppressed; a forged recipient makes at most a dead forward."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiosmtplib
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from local_stack.stack import Servers
from sender.suppression import Evidence, entries, kind
from status_store import fold, standing
from tests.bouncing import (
    DOMAIN,
    ORIGINAL,
    RECIPIENT,
    Bouncing,
    bounce,
    bouncing,
    complaint,
    published,
    return_path,
)
from tests.conftest import KEYRING, new_database, virtual_host
from tracepost import tokens
from tracepost.events import Accepted, AnyEvent, Bounced, Complained, Data, Delivered, Replied, event
from tracepost.tokens import LIFETIME, Keyring

pytestmark = pytest.mark.asyncio(loop_scope="session")

Make = Callable[..., bytes]
Forge = Callable[[UUID], bytes]

TODAY = datetime.now(UTC).date()
STRANGERS = Keyring({1: bytes(32)})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(servers: Servers) -> AsyncIterator[Bouncing]:
    """One for all: each test has a message of its own."""
    async with (
        virtual_host(servers) as broker,
        new_database(servers) as database,
        bouncing(broker, database) as running,
    ):
        yield running


async def events_of(service: Bouncing, message_id: UUID) -> list[AnyEvent]:
    """What was told of a message: a true report of another one, sent last, shows that all is there."""
    last = uuid7()
    await service.send(bounce(), return_path(last))
    found: list[AnyEvent] = []
    while last not in {each.message_id for each in found}:
        found += await published(service.broker, 1)
    return [each for each in found if each.message_id == message_id]


def status(events: Sequence[AnyEvent], before: Data) -> str:
    """What status-store shows of a message of which that was known before these came."""
    accepted = Accepted(
        recipient=RECIPIENT,
        recipient_count=1,
        sender="s@example.test",
        subject_line="Hello",
        rfc_message_id="<x@example.test>",
        app="shop",
        track_opens="full",
        has_html=True,
        size=1,
    )
    id_ = events[0].message_id if events else uuid7()
    known = [event("sender", id_, 0, each) for each in (accepted, before)]
    return standing.status(fold.fold([*known, *events])).status


def suppressed(events: Sequence[AnyEvent]) -> bool:
    """What the sender makes of them."""
    evidence = [Evidence(each.id, found, each.time) for each in events if (found := kind(each.data))]
    return any(entry.holds(datetime.now(UTC)) for entry in entries(evidence))


async def assert_nothing_changed(service: Bouncing, message_id: UUID) -> list[AnyEvent]:
    """Answers what was told all the same: a dead forward at most, which shows until somebody is known to have read."""
    events = await events_of(service, message_id)
    is_forward = any(isinstance(each.data, Bounced) and each.data.forwarded_to for each in events)
    assert status(events, Delivered(origin="smtp")) == ("failed" if is_forward else "delivered")
    assert status(events, Replied()) == "read"
    assert not suppressed(events)
    return events


def original(token: bytes) -> bytes:
    """The returned message, with our header in it."""
    return f"Tracepost-Token: {tokens.to_local_part(token)}\r\n".encode() + ORIGINAL


async def test_a_true_report_changes_the_status_and_suppresses(service: Bouncing) -> None:
    for make, expected in ((bounce, "hard_bounce"), (complaint, "spam")):
        message_id = uuid7()
        await service.send(make(), return_path(message_id))
        events = await events_of(service, message_id)
        assert status(events, Replied()) == expected
        assert suppressed(events)
        proven = original(KEYRING.return_path(message_id, 0, RECIPIENT))
        await service.send(make(original=proven), f"fbl@{DOMAIN}")
        assert len(await events_of(service, message_id)) == 1


@pytest.mark.parametrize("make", [bounce, complaint], ids=["bounce", "ARF"])
async def test_without_a_token(service: Bouncing, make: Make) -> None:
    message_id = uuid7()
    mail = make(original=f"Message-ID: <{message_id}@example.test>\r\n".encode() + ORIGINAL)
    await service.send(mail, f"fbl@{DOMAIN}")
    assert (await service.held())[0]["reason"] == "unplaced"
    assert await assert_nothing_changed(service, message_id) == []


FORGED: Mapping[str, Forge] = {
    "a purpose swapped": lambda id_: KEYRING.pixel(id_, 0),
    "a purpose swapped, of the right length": lambda id_: KEYRING.pixel(id_, 0) + bytes(3),
    "expired": lambda id_: KEYRING.return_path(id_, 0, RECIPIENT, TODAY - LIFETIME - timedelta(1)),
    "signed by others": lambda id_: STRANGERS.return_path(id_, 0, RECIPIENT),
    "altered to another message": lambda id_: (
        KEYRING.return_path(uuid7(), 0, RECIPIENT)[:1] + id_.bytes + KEYRING.return_path(uuid7(), 0, RECIPIENT)[17:]
    ),
    "altered to another recipient": lambda id_: (
        KEYRING.return_path(id_, 1, RECIPIENT)[:17] + b"\0" + KEYRING.return_path(id_, 1, RECIPIENT)[18:]
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("make", [bounce, complaint], ids=["bounce", "ARF"])
async def test_with_a_token_that_is_not_genuine(service: Bouncing, make: Make, forge: Forge) -> None:
    message_id = uuid7()
    token = forge(message_id)
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused, match=r"550, '5\.1\.1"):
        await service.send(make(), f"{tokens.to_local_part(token)}@{DOMAIN}")
    await service.send(make(original=original(token)), f"abuse@{DOMAIN}")
    assert (await service.held())[0]["reason"] == "untrusted"
    assert await assert_nothing_changed(service, message_id) == []


@pytest.mark.parametrize("make", [bounce, complaint], ids=["bounce", "ARF"])
async def test_with_the_token_of_another_message(service: Bouncing, make: Make) -> None:
    mine, others = uuid7(), uuid7()
    about = original(KEYRING.return_path(others, 0, "victim@example.test"))
    await service.send(make(recipient="victim@example.test", original=about), return_path(mine))
    assert await assert_nothing_changed(service, others) == []


@pytest.mark.parametrize("make", [bounce, complaint], ids=["bounce", "ARF"])
async def test_with_a_valid_token_and_another_recipient(service: Bouncing, make: Make) -> None:
    message_id = uuid7()
    await service.send(make(recipient="victim@example.test"), return_path(message_id))
    (told,) = await assert_nothing_changed(service, message_id)
    assert isinstance(told.data, Bounced | Complained)
    assert told.data.certainty == "candidate"
    if isinstance(told.data, Bounced):
        assert (told.data.forwarded_to, told.data.bounce_class) == ("victim@example.test", "soft")


@pytest.mark.parametrize("make", [bounce, complaint], ids=["bounce", "ARF"])
async def test_replayed(service: Bouncing, make: Make) -> None:
    message_id, mail = uuid7(), make()
    for _ in range(3):
        await service.send(mail, return_path(message_id))
    events = await events_of(service, message_id)
    assert len({each.id for each in events}) == 1  # which status-store and the sender fold once
    # To another delivery it says nothing of this one.
    other = uuid7()
    await service.send(mail, return_path(other))
    assert await events_of(service, message_id) == []
