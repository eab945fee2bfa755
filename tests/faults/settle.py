"""Waits until everything has come to rest and compares what is there with the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aio_pika
import aiohttp
from aio_pika.abc import AbstractChannel

from tests.conftest import eventually
from tests.faults.ledger import BEHAVIOURS, Seen, Verdict, compare
from tests.faults.load import ANSWERS, NO_REQUEST, Load
from tests.faults.site import Site
from tracepost import topology

TOLD = "faults.told"
STATUSES = "SELECT message_id, status FROM messages WHERE message_id = ANY ($1::uuid[])"
UNKNOWN = """
SELECT message_id, count(*) AS count FROM events
WHERE message_id = ANY ($1::uuid[]) AND body -> 'data' ->> 'outcome_unknown' = 'true' GROUP BY 1
"""
UNPUBLISHED = """
SELECT (SELECT count(*) FROM change_marks) + (SELECT numbered - published FROM feed) AS left
"""
DELIVERIES = "SELECT message_id, state::text FROM deliveries WHERE message_id = ANY ($1::uuid[])"
IN_HAND = """
SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM deliveries WHERE state <> 'done') AS left
"""


async def settle(site: Site, load: Load, deadline: float = 60) -> Verdict:
    """Stop the load, wait until nothing moves any more, and compare; what is not there by the deadline is lost."""
    load.stopping.set()
    await site.until_ready()
    moving: list[str] = []
    try:
        await eventually(lambda: _at_rest(site, load), deadline)
        await eventually(lambda: _queues_empty(site), deadline=15)
    except AssertionError as error:
        moving.append(f"not at rest: {error}")
    verdict = await _verdict(site, load)
    verdict.unexpected += moving
    return verdict


async def _at_rest(site: Site, load: Load) -> bool:
    moving = [entry for entry in load.entries.values() if not entry.settled]
    assert not moving, f"{len(moving)} requests are not confirmed or not acted on, e.g. {moving[0]}"
    statuses = await _statuses(site, load)
    wrong = [e for e in load.entries.values() if statuses.get(e.message_id) != e.behaviour.expected]
    assert not wrong, f"{len(wrong)} are not where they belong, e.g. {wrong[0]}: {statuses.get(wrong[0].message_id)}"
    [(in_hand,)] = await site.fetch("sender", IN_HAND)
    [(unpublished,)] = await site.fetch("status", UNPUBLISHED)
    assert in_hand == unpublished == 0, f"{in_hand} in the sender's hands, {unpublished} changes not published"
    return True


async def _queues_empty(site: Site) -> bool:
    counts = {name: count for name, count in (await site.messages()).items() if count}
    assert not counts, f"not empty: {counts}"
    return True


async def _verdict(site: Site, load: Load) -> Verdict:
    ids = list(load.entries)
    await _read_queues(site)
    statuses = await _statuses(site, load)
    unknown = await site.pairs("status", UNKNOWN, ids)
    deliveries = await site.pairs("sender", DELIVERIES, ids)
    queried, copies = await _queried(load), await _copies(load)
    seen = {
        id_: Seen(
            status=statuses.get(id_),
            queried=queried.get(id_),
            told=site.told.get(str(id_), (0, None))[1],
            answered=str(id_) in site.answered,
            delivery=deliveries.get(id_),
            copies=copies[id_.hex],
            unknown=unknown.get(id_, 0),
        )
        for id_ in deliveries.keys() | statuses.keys()
    }
    return compare(load.entries.values(), seen, await _strangers(site, load))


async def _statuses(site: Site, load: Load) -> dict[UUID, str]:
    return await site.pairs("status", STATUSES, list(load.entries))


async def _queried(load: Load) -> dict[UUID, str]:
    """What the query API lists for this run."""
    found: dict[UUID, str] = {}
    async with aiohttp.ClientSession() as session:
        for kind in BEHAVIOURS:
            query = {"reference": load.reference(kind), "limit": "500"}
            while True:
                async with session.get(f"{load.stack.query_url}/messages", params=query) as response:
                    page = await response.json()
                found |= {UUID(each["message_id"]): each["status"] for each in page["messages"]}
                if not page["cursor"]:
                    break
                query["cursor"] = page["cursor"]
    return found


async def _copies(load: Load) -> Counter[str]:
    """How many copies the simulator took, by the tag of the recipient's address."""
    async with aiohttp.ClientSession() as session, session.get(load.stack.mailbox_url) as response:
        mails = (await response.json())["mails"]
    return Counter(each["recipient"].partition("+")[2].partition("@")[0] for each in mails)


async def _read_queues(site: Site) -> None:
    """Take in what was answered to publishers and told to subscribers."""
    async with _channel(site) as channel:
        async for message in _drained(channel, ANSWERS):
            site.answered.add(json.loads(message.body).get("message_id", ""))
        async for message in _drained(channel, TOLD):
            body = json.loads(message.body)
            for each in body if isinstance(body, list) else [body]:
                newest = each["data"]["version"], each["data"]["status"]
                site.told[each["subject"]] = max(newest, site.told.get(each["subject"], newest))


async def _strangers(site: Site, load: Load) -> list[str]:
    """Messages that nobody published, and dead letters that nobody asked for."""
    rows = await site.fetch("status", "SELECT message_id FROM messages")
    strangers = [f"message {row['message_id']}" for row in rows if row["message_id"] not in site.known]
    letters = await site.fetch("status", "DELETE FROM dead_letters RETURNING code, body")
    asked_for = [each for each in letters if each["body"] == NO_REQUEST]
    if len(asked_for) < load.bad_sent:
        strangers.append(f"only {len(asked_for)} dead letters of {load.bad_sent} bad requests")
    return strangers + [f"dead letter: {each['code']}" for each in letters if each["body"] != NO_REQUEST]


async def subscribe(site: Site) -> None:
    """Queues of the publisher's and of a subscriber's, kept until they are read."""
    async with _channel(site) as channel:
        await channel.declare_queue(ANSWERS, durable=True)
        told = await channel.declare_queue(TOLD, durable=True)
        await told.bind(topology.STATUS, "#")


@asynccontextmanager
async def _channel(site: Site) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(site.node.broker.amqp_url) as connection, connection.channel() as channel:
        yield channel


async def _drained(channel: AbstractChannel, name: str) -> AsyncIterator[Any]:
    queue = await channel.get_queue(name)
    while message := await queue.get(no_ack=True, fail=False):
        yield message
