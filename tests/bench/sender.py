"""A sender as a process of its own, what it is given, and what it says of it."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import aio_pika
import aiohttp
import asyncpg
from uuid_utils.compat import uuid7

from local_stack.processes import Process, free_port, running
from local_stack.stack import HOST, create_database
from tests.bench.raw_amqp import encoded
from tests.conftest import ROOT, eventually
from tracepost import requests, topology
from tracepost.requests import SendRequest

FOLDER = ROOT / ".local" / "bench"
SEEN = "bench.seen"

# With the headers and the boundaries of either part, 2 kB.
TEXT = "Your order has left our house today, and will be with you in two days.\n" * 9
HTML = "<p>Your order has left our <b>house</b> today, and will be with you in two days.</p>\n" * 8


def sample(count: int) -> list[SendRequest]:
    """Requests for mails of 2 kB to one recipient each; no two are alike."""
    return [
        SendRequest.model_validate(
            {
                "message_id": uuid7(),
                "from": "Support <support@example.org>",
                "to": [f"Ann <{number}ann@example.org>"],
                "subject": f"Your order {number}",
                "text": f"Hello {number},\n{TEXT}",
                "html": f"<p>Hello {number},</p>\n{HTML}",
            }
        )
        for number in range(count)
    ]


def frame(request: SendRequest) -> bytes:
    """What a client publishes."""
    body = requests.encode(request)
    return encoded(topology.REQUESTS, "send.normal", body, requests.CONTENT_TYPE, user_id="guest")


async def seeing(url: str, event: str) -> None:
    """Bind a queue that keeps the confirmed events of a type for us."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(SEEN)
        await queue.bind(topology.EVENTS, event)


def until(bodies: Iterator[bytes], events: int) -> Iterator[bytes]:
    """Bodies, until they hold so many events."""
    while events > 0:
        body = next(bodies)
        events -= body.count(b'"specversion"')
        yield body


@asynccontextmanager
async def sender(server: str, relay_port: int, url: str, dkim_keys: str = "") -> AsyncIterator[Process]:
    """A sender that is ready, with a database of its own."""
    database, admin = f"bench_{secrets.token_hex(4)}", free_port()
    settings = {
        "AMQP_URL": url,
        "SENDER_DATABASE_URL": f"{server}/{database}",
        "TOKEN_KEYS": "1:" + base64.b64encode(bytes(32)).decode(),
        "BOUNCE_DOMAIN": "bounces.example.com",
        "SENDER_PIXEL_URL": "https://pixel.example.com",
        "SENDER_RELAYS": f"{HOST}:{relay_port}",
        "SENDER_DKIM_KEYS": dkim_keys,
        "SENDER_API_PORT": str(free_port()),
        "SENDER_ADMIN_PORT": str(admin),
        "LOG_LEVEL": "WARNING",
    }
    env = os.environ | {f"TRACEPOST_{name}": value for name, value in settings.items()}
    await create_database(server, database)
    try:
        async with running("sender", [sys.executable, "-m", "sender"], env=env, log=FOLDER / "sender.log") as process:
            await eventually(partial(_ready, admin))
            yield process
    finally:
        connection = await asyncpg.connect(f"{server}/postgres")
        await connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
        await connection.close()


async def _ready(port: int) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/readyz") as response:
            return response.status == 200
    return False
