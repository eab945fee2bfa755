"""Lists by any combination of filters: what is found, page by page, and which issues are unseen."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from status_store import housekeeping
from status_store.asked import Search, plan
from status_store.issues import Issues
from status_store.queries import Queries
from status_store.record import record
from status_store.store import Store
from tests.conftest import KEYRING
from tests.unit.samples import uuid7_at
from tracepost import partitions, postgres
from tracepost.events import Accepted, AnyEvent, Bounced, Complained, Data, Delivered, Erased, Opened, event
from tracepost.postgres import Pool

NOW = datetime.now(UTC).replace(microsecond=0)
START = NOW - timedelta(days=40)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with postgres.connected(database, "status_store") as pool:
        yield pool


@pytest.fixture
async def store(pool: Pool) -> Store:
    store = Store(pool, 3, KEYRING)
    await partitions.keep(pool, housekeeping.TABLES, store.months)
    return store


def accepted(message_id: UUID, number: int = 0, **fields: Any) -> AnyEvent:
    told = {
        "recipient": "ann@example.org",
        "recipient_count": 1,
        "sender": "Support <support@example.com>",
        "subject_line": "Hello",
        "rfc_message_id": "<x@example.org>",
        "app": "shop",
        "track_opens": "full",
        "has_html": True,
        "size": 1,
    }
    return event("sender", message_id, number, Accepted(**told | fields))


async def found(store: Store, limit: int = 50, **asked: Any) -> list[str]:
    """The ids that all pages give, in their order."""
    queries, ids, cursor = Queries(store.pool), [], None
    while True:
        search = Search(**asked, cursor=cursor, limit=limit)
        rows, cursor = await queries.page(plan(search, search.app, KEYRING.address_key), limit)
        ids += [json.loads(row)["message_id"] for row in rows]
        if cursor is None:
            return ids


RETURNED = Bounced(bounce_class="hard", category="invalid_recipient", origin="smtp")
LATER: dict[str, list[Data]] = {
    "queued": [],
    "delivered": [Delivered(origin="smtp")],
    "hard_bounce": [RETURNED],
}
PEOPLE, TAGS, APPS = ("Ann@example.org", "bob@example.org", "cy@example.net"), ("vip", "new"), ("shop", "desk")


def scene() -> list[tuple[dict[str, Any], list[AnyEvent]]]:
    """Messages, two for each hour, with what they are found by."""
    told: list[tuple[dict[str, Any], list[AnyEvent]]] = []
    tags: tuple[str, ...]
    for n, (person, tags, app, status) in enumerate(itertools.product(PEOPLE, ((), TAGS[:1], TAGS), APPS, LATER)):
        at = START + timedelta(minutes=30 * n)
        message_id = uuid7_at(at.timestamp())
        sender = f"{app}@example.com"
        more = LATER[status]
        first = accepted(
            message_id, recipient=person, tags=tags, app=app, sender=f"It <{sender}>", reference=f"T-{n % 5}"
        )
        facts = {"recipient": person, "tag": tags, "app": app, "status": status, "sender": sender}
        known = facts | {"reference": f"T-{n % 5}", "at": at, "id": str(message_id)}
        told.append((known, [first, *(event("sender", message_id, 0, data) for data in more)]))
    return told


FILTERS: dict[str, Any] = {
    "recipient": "ANN@example.org",
    "tag": "vip",
    "app": "desk",
    "status": "issues",
    "sender": "Desk <desk@example.com>",
    "reference": "T-2",
    "from": START + timedelta(hours=3),
    "to": START + timedelta(hours=22),
    "unseen": True,
}


def fits(known: dict[str, Any], asked: dict[str, Any]) -> bool:
    """The plain meaning of every filter."""
    checks: dict[str, Callable[[Any], bool]] = {
        "recipient": lambda v: known["recipient"].lower() == v.lower(),
        "tag": lambda v: v in known["tag"],
        "app": lambda v: known["app"] == v,
        "status": lambda v: known["status"] == "hard_bounce",
        "sender": lambda v: known["sender"] == "desk@example.com",
        "reference": lambda v: known["reference"] == v,
        "from": lambda v: known["at"] >= v,
        "to": lambda v: known["at"] < v,
        "unseen": lambda v: known["status"] == "hard_bounce",
    }
    return all(checks[name](value) for name, value in asked.items())


def combinations() -> Iterator[dict[str, Any]]:
    for count in range(len(FILTERS) + 1):
        for names in itertools.combinations(FILTERS, count):
            yield {name: FILTERS[name] for name in names}


async def test_any_combination_of_filters_finds_what_fits_and_nothing_else(store: Store) -> None:
    known = scene()
    await record(store, [each for _, history in known for each in history])
    for asked in combinations():
        ids = await found(store, limit=7, **asked)
        fitting = [each["id"] for each, _ in reversed(known) if fits(each, asked)]
        assert ids == fitting, asked


async def test_every_recipient_finds_the_message_and_none_that_is_erased(store: Store) -> None:
    message_id = uuid7()
    await record(store, [accepted(message_id, 0), accepted(message_id, 1, recipient="bob@example.org")])
    assert await found(store, recipient="ann@example.org") == [str(message_id)]
    assert await found(store, recipient="Bob <BOB@example.org>") == [str(message_id)]
    erased = Erased(by="x", address_key=KEYRING.address_key("bob@example.org"))
    await record(store, [event("api", message_id, 1, erased)])
    assert await found(store, recipient="bob@example.org") == []
    assert await found(store, recipient="ann@example.org") == [str(message_id)]


async def test_an_issue_is_unseen_until_somebody_has_seen_it_and_again_when_it_is_another(store: Store) -> None:
    message_id, issues = uuid7(), Issues(store.pool)
    await record(store, [accepted(message_id), event("sender", message_id, 0, RETURNED)])
    assert await found(store, unseen=True) == [str(message_id)]
    await issues.see(message_id, "ann")
    assert await found(store, unseen=True) == []
    await record(store, [event("pixel", message_id, 0, Opened(verdict="person", rule="x"))])
    assert await found(store, unseen=True) == []
    complaint = Complained(feedback_type="abuse", origin="arf")
    await record(store, [event("bounces", message_id, 0, complaint)])
    assert await found(store, unseen=True, status="spam") == [str(message_id)]


async def test_an_issue_that_is_none_any_more_is_not_to_be_seen(store: Store) -> None:
    message_id = uuid7()
    abuse, undone = (Complained(feedback_type=kind, origin="arf") for kind in ("abuse", "not-spam"))
    await record(store, [accepted(message_id), event("b", message_id, 0, abuse, time=NOW)])
    assert await found(store, unseen=True) == [str(message_id)]
    await record(store, [event("b", message_id, 0, undone, time=NOW + timedelta(seconds=1))])
    assert await found(store, unseen=True) == []
