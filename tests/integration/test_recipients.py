"""What a recipient may ask for: erasure, withdrawal, export, and the events that others follow; and answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg
import pytest
from uuid_utils.compat import uuid7

from tests.conftest import KEYRING, eventually
from tests.running import ALL, OTHER, SHOP, Running, running
from tracepost import events
from tracepost.events import Accepted, AnyEvent, Bounced, Delivered, Opened, event
from tracepost.topology import DEAD, EVENTS

ANN = "Ann.Lee@example.org"


@pytest.fixture
async def service(broker: str, database: str) -> AsyncIterator[Running]:
    async with running(broker, database) as service:
        yield service


def history(message_id: UUID, app: str = "shop", recipient: str = ANN) -> list[AnyEvent]:
    accepted = Accepted(
        recipient=recipient,
        recipient_count=2,
        sender="s@example.org",
        subject_line=f"Dear {recipient}",
        rfc_message_id="<x@example.org>",
        app=app,
        track_opens="full",
        has_html=True,
        size=1,
    )
    other = accepted.model_copy(update={"recipient": "bob@example.net", "subject_line": "Dear Bob"})
    returned = Bounced(
        bounce_class="hard", category="invalid_recipient", diagnostic=f"550 <{recipient}> unknown", origin="dsn"
    )
    told = (accepted, Delivered(origin="smtp", response=f"250 <{recipient}> ok"), returned)
    opened = event("pixel", message_id, 0, Opened(verdict="person", rule="x", client="Mozilla", ip="192.0.2.0/24"))
    return [*(event("sender", message_id, 0, each) for each in told), opened, event("sender", message_id, 1, other)]


async def everything(database: str) -> str:
    """Every row of every table as text."""
    connection = await asyncpg.connect(database)
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    rows = [await connection.fetch(f'SELECT t::text FROM "{name}" t') for (name,) in tables]
    bodies = await connection.fetch("SELECT encode(body, 'escape') FROM dead_letters")
    await connection.close()
    return "\n".join(row[0] for each in [*rows, bodies] for row in each)


async def done(service: Running, receipt: dict[str, Any]) -> bool:
    return bool((await service.ask("GET", f"/receipts/{receipt['id']}", key=ALL))["done"])


async def test_an_erased_address_is_nowhere_and_what_became_of_its_mail_still_is(
    service: Running, database: str
) -> None:
    mine, others = uuid7(), uuid7()
    await service.publish(*history(mine), *history(others, recipient="cy@example.org"))
    await service.publisher.send(aio_pika.Message(f'{{"to": "{ANN}"}}'.encode(), content_type="x/y"), DEAD, "q")
    assert ANN in await everything(database)

    async def buried() -> bool:
        return bool((await service.ask("GET", "/dead-letters", key=ALL))["dead_letters"])

    await eventually(buried)
    receipt = await service.ask(
        "POST", "/recipients/erase", {"address": f"Ann <{ANN.lower()}>", "reason": "asked by letter"}, key=ALL
    )
    assert (receipt["deliveries"], receipt["by"], receipt["kind"]) == (1, "all", "erase")
    await eventually(lambda: done(service, receipt))
    left = await everything(database)
    assert ANN.lower() not in left.lower()
    assert left.lower().count("mozilla") == 1  # what another used
    told = await service.ask("GET", f"/messages/{mine}", key=ALL)
    assert [each["recipient"] for each in told["deliveries"]] == ["(erased)", "bob@example.net"]
    assert (told["status"], told["subject"]) == ("hard_bounce", "(erased)")
    search = {"recipient": ANN}
    assert (await service.ask("POST", "/messages/search", search, key=ALL))["messages"] == []
    assert "cy@example.org" in left
    # What is published again is known already; what had never come is redacted as it comes.
    await service.publish(*history(mine)[:1], event("bounces", mine, 0, history(mine)[2].data))
    assert ANN.lower() not in (await everything(database)).lower()


async def test_others_hear_of_an_erasure_also_of_an_address_without_mail(service: Running, broker: str) -> None:
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("followers", exclusive=True)
        await queue.bind(EVENTS, "erased")
        await service.publish(*history(message_id := uuid7()))
        for address in (ANN, "nobody@example.org"):
            await service.ask("POST", "/recipients/erase", {"address": address}, key=ALL)
        told = [events.decode((await queue.get(timeout=10)).body) for _ in range(2)]
    keys = [KEYRING.address_key(address) for address in (ANN, "nobody@example.org")]
    assert [each.data.address_key for each in told] == keys  # type: ignore[union-attr]
    assert [each.subject for each in told] == [f"{message_id}/0", f"recipient/{keys[1]}"]
    assert not (await service.ask("GET", "/dead-letters", key=ALL))["dead_letters"]


async def test_what_was_on_its_way_when_it_was_to_be_erased_is_erased_when_it_comes(
    service: Running, broker: str, database: str
) -> None:
    late = uuid7()
    receipt = await service.ask("POST", "/recipients/erase", {"address": ANN}, key=ALL)
    assert receipt["deliveries"] == 0
    await service.publish(*history(late))
    assert not await done(service, receipt)
    # Another process looks at its start for what is left to do; this one would in a minute.
    async with running(broker, database):
        await eventually(lambda: done(service, receipt))
    assert ANN.lower() not in (await everything(database)).lower()


async def test_a_withdrawal_takes_later_opens_back(service: Running) -> None:
    mine, theirs = uuid7(), uuid7()
    await service.publish(*history(mine)[:2], *history(theirs, app="other")[:2])
    receipt = await service.ask("POST", "/recipients/withdraw", {"address": ANN})
    assert receipt["deliveries"] == 1
    later = datetime.now(UTC) + timedelta(minutes=1)
    for each in (mine, theirs):
        await service.publish(event("pixel", each, 0, Opened(verdict="person", rule="x", client="Mozilla"), time=later))

    async def taken_back() -> bool:
        told = await service.ask("GET", f"/messages/{mine}")
        return bool(told["deliveries"][0]["status"] == "delivered")

    await eventually(taken_back)
    assert (await service.ask("GET", f"/messages/{theirs}", key=OTHER))["status"] == "read"
    timeline = await service.ask("GET", f"/messages/{mine}/events")
    [opened] = [each for each in timeline["events"] if each["type"] == "tracepost.opened.v1"]
    assert opened["data"]["client"] == "(erased)"


async def test_an_export_has_all_of_an_address_and_nothing_of_another(service: Running) -> None:
    ids = [uuid7() for _ in range(3)]
    await service.publish(*(each for id_ in ids for each in history(id_)), *history(uuid7(), app="other"))
    told = await service.ask("POST", "/recipients/export", {"address": ANN})
    assert [each["message_id"] for each in told["deliveries"]] == [*map(str, ids)]
    assert {len(each["events"]) for each in told["deliveries"]} == {4}
    assert "bob@example.net" not in str(told)
    receipt = await service.ask("GET", f"/receipts/{told['receipt']}")
    assert (receipt["kind"], receipt["deliveries"], receipt["done"]) == ("export", 3, True)
    assert (await service.answer("GET", f"/receipts/{told['receipt']}", key=OTHER))[0] == 404
    assert len((await service.ask("POST", "/recipients/export", {"address": ANN}, key=ALL))["deliveries"]) == 4


async def test_who_may_ask_for_what(service: Running) -> None:
    wish = {"address": ANN}
    assert (await service.answer("POST", "/recipients/erase", wish, key=SHOP))[0] == 403
    assert (await service.answer("POST", "/recipients/erase", wish, key="none"))[0] == 401
    status, told = await service.answer("POST", "/recipients/erase", {"address": "secret <"}, key=ALL)
    assert (status, [each["pointer"] for each in told["errors"]]) == (422, ["/address"])
    assert "secret" not in str(told)


async def test_an_answer_makes_a_message_read_once(service: Running) -> None:
    message_id = uuid7()
    await service.publish(*history(message_id)[:2])
    path = f"/messages/{message_id}/deliveries/0/replied"
    first = await service.ask("POST", path, {"reply_id": "<1@example.org>"})
    again = await service.ask("POST", path, {"reply_id": "<1@example.org>"})
    assert first["event_id"] == again["event_id"]

    async def read() -> bool:
        return bool((await service.ask("GET", f"/messages/{message_id}"))["status"] == "read")

    await eventually(read)
    timeline = await service.ask("GET", f"/messages/{message_id}/events")
    assert [each["type"] for each in timeline["events"]].count("tracepost.replied.v1") == 1
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for number, told, status in ((0, {"at": tomorrow}, 422), (9, {}, 404), (1, {}, 202), (0, None, 202)):
        asked = f"/messages/{message_id}/deliveries/{number}/replied"
        assert (await service.answer("POST", asked, told))[0] == status
    assert (await service.answer("POST", path, {}, key=OTHER))[0] == 404
