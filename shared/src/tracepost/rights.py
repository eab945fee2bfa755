"""RabbitMQ's users, one for each service and app, with the least rights that they work with, as data."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tracepost import topology
from tracepost.topology import (
    BOUNCE_INGEST_EVENTS,
    DEAD,
    DEAD_LETTERS,
    EVENTS,
    REQUESTS,
    SENDER_BULK,
    SENDER_EVENTS,
    SENDER_NORMAL,
    STATUS,
    STATUS_STORE_EVENTS,
)

# What RabbitMQ calls the exchange without a name, which reaches every queue: for answers to who asked for one.
REPLIES = "amq.default"
LANES = ("send.normal", "send.bulk")
ANY_KEY = ".*"


@dataclass(frozen=True)
class Rights:
    """Regular expressions for what a user reads and declares, queues or exchanges, and the keys it writes by exchange.

    An exchange without keys takes all of them: it is none of type topic.
    """

    reads: tuple[str, ...] = ()
    writes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    declares: tuple[str, ...] = ()


def _queues(*queues: topology.Queue) -> tuple[str, ...]:
    return tuple(re.escape(queue.name) for queue in queues)


def _keys(*keys: str) -> tuple[str, ...]:
    return tuple(re.escape(key) for key in keys)


_SENDER = (SENDER_NORMAL, SENDER_BULK, SENDER_EVENTS)
_STATUS_STORE = (STATUS_STORE_EVENTS, DEAD_LETTERS)

SERVICES: Mapping[str, Rights] = {
    "sender": Rights(
        reads=_queues(*_SENDER),
        writes={
            REQUESTS: _keys(*LANES),  # from its HTTP door
            EVENTS: _keys("accepted", "rejected", "deferred", "delivered", "bounced", "cancelled"),
            DEAD: _queues(*_SENDER),
            REPLIES: (),
        },
    ),
    "pixel": Rights(writes={EVENTS: _keys("opened")}),
    "bounce-ingest": Rights(
        reads=_queues(BOUNCE_INGEST_EVENTS),
        writes={
            EVENTS: _keys("bounced", "deferred", "complained", "delivered", "opened"),
            DEAD: _queues(BOUNCE_INGEST_EVENTS),
        },
    ),
    "status-store": Rights(
        reads=_queues(*_STATUS_STORE),
        # Dead letters are replayed to where they came from.
        writes={REQUESTS: _keys(*LANES), EVENTS: (ANY_KEY,), STATUS: (ANY_KEY,), DEAD: _queues(*_STATUS_STORE)},
    ),
}


def of_app(app: str) -> Rights:
    """Publish requests, bind queues named `<app>.…`, or ones that the broker names, to the status changes."""
    own = (rf"{re.escape(app)}\..*", r"amq\.gen-.*")
    return Rights((re.escape(STATUS), *own), {REQUESTS: _keys(*LANES), **dict.fromkeys(own, ())}, own)


def definitions(passwords: Mapping[str, str], vhost: str = "/") -> dict[str, Any]:
    """The users with these passwords, in the format of RabbitMQ's definition files; who is no service is an app."""
    rights = {user: SERVICES.get(user) or of_app(user) for user in passwords}
    return {
        "users": [
            {
                "name": user,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for user, password in passwords.items()
        ],
        "permissions": [_permission(user, vhost, each) for user, each in rights.items()],
        "topic_permissions": [
            {"user": user, "vhost": vhost, "exchange": exchange, "write": _one_of(keys), "read": ANY_KEY}
            for user, each in rights.items()
            for exchange, keys in each.writes.items()
            if keys
        ],
    }


async def apply(management_url: str, passwords: Mapping[str, str], vhost: str = "/") -> None:
    """Create these users, or give them these passwords and rights; OSError when the management API refuses."""
    await topology.put(management_url, "/api/definitions", definitions(passwords, vhost))


def _permission(user: str, vhost: str, rights: Rights) -> dict[str, str]:
    written = [name if name in rights.declares else re.escape(name) for name in rights.writes]
    names = {"configure": rights.declares, "write": written, "read": rights.reads}
    return {"user": user, "vhost": vhost, **{what: _one_of(which) for what, which in names.items()}}


def _one_of(patterns: Iterable[str]) -> str:
    """Matches one of them as a whole; without any nothing, for a resource has a name."""
    return f"^({'|'.join(patterns)})$"


def _hashed(password: str) -> str:
    # https://www.rabbitmq.com/docs/passwords: four bytes of salt, then the hash of both.
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + sha256(salt + password.encode()).digest()).decode()
