"""The exchanges, queues, bindings and policies on RabbitMQ, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

REQUESTS = "tracepost.requests"
EVENTS = "tracepost.events"
STATUS = "tracepost.status"
DEAD = "tracepost.dead"
EXCHANGES = (REQUESTS, EVENTS, STATUS, DEAD)

# Prefetched innocents count together with the culprit, so the limit is generous.
DELIVERY_LIMIT = 200


@dataclass(frozen=True)
class Queue:
    """A durable quorum queue and what is routed to it: `keys` of the topic exchange `source`."""

    name: str
    source: str
    keys: tuple[str, ...]


SENDER_NORMAL = Queue("sender.requests.normal", REQUESTS, ("send.normal",))
SENDER_BULK = Queue("sender.requests.bulk", REQUESTS, ("send.bulk",))
SENDER_EVENTS = Queue("sender.events", EVENTS, ("bounced", "complained", "withdrawn", "erased"))
BOUNCE_INGEST_EVENTS = Queue("bounce-ingest.events", EVENTS, ("erased",))
STATUS_STORE_EVENTS = Queue("status-store.events", EVENTS, ("#",))
DEAD_LETTERS = Queue(DEAD, DEAD, ("#",))
WORK_QUEUES = (SENDER_NORMAL, SENDER_BULK, SENDER_EVENTS, BOUNCE_INGEST_EVENTS, STATUS_STORE_EVENTS)
QUEUES = (*WORK_QUEUES, DEAD_LETTERS)


def definitions() -> dict[str, Any]:
    """The topology in the format of RabbitMQ's definition files, for one virtual host."""
    return {
        "exchanges": [
            {"name": name, "type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {}}
            for name in EXCHANGES
        ],
        "queues": [
            {"name": queue.name, "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}}
            for queue in QUEUES
        ],
        "bindings": [
            {
                "source": queue.source,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": key,
                "arguments": {},
            }
            for queue in QUEUES
            for key in queue.keys
        ],
        "policies": [_policy(queue) for queue in WORK_QUEUES],
    }


def as_json() -> str:
    """The definitions as text, for a file that RabbitMQ loads at its start."""
    return json.dumps(definitions(), indent=2)


def _policy(queue: Queue) -> dict[str, Any]:
    # At-least-once dead-lettering needs reject-publish; the key says which queue a message died in.
    return {
        "name": queue.name,
        "pattern": f"^{queue.name.replace('.', '[.]')}$",
        "apply-to": "queues",
        "priority": 10,
        "definition": {
            "delivery-limit": DELIVERY_LIMIT,
            "dead-letter-exchange": DEAD,
            "dead-letter-routing-key": queue.name,
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",
        },
    }


async def apply(management_url: str, vhost: str = "/") -> None:
    """Create what is missing, over the management API; OSError when it refuses or cannot be reached."""
    await put(management_url, f"/api/definitions/{quote(vhost, safe='')}", definitions())


async def put(management_url: str, path: str, told: dict[str, Any]) -> None:
    """Have RabbitMQ import definitions: what is there already is kept, or changed to what they say."""
    url = URL(management_url)
    auth = aiohttp.encode_basic_auth(url.user or "guest", url.password or "guest")
    async with (
        aiohttp.ClientSession(headers={"Authorization": auth}) as session,
        session.post(url.with_user(None).with_path(path, encoded=True), json=told) as response,
    ):
        if response.status >= 400:
            raise refused(response.status, await response.text())


def refused(status: int, words: str) -> OSError:
    """What the management API answers in place of what was asked for."""
    kind = PermissionError if status in (401, 403) else OSError
    return kind(f"the management API answered {status}: {words[:500]}")
