"""Assembles the sender: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from yarl import URL

from sender import deliver, feedback, intake, outbox, smtp, suppression_files, suppressions
from sender.api import api
from sender.apps import Apps
from sender.door import Door
from sender.settings import SenderSettings
from sender.store import Queue
from sender.suppression_store import Suppressions
from tracepost import http, postgres, topology
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.runner import Checks, background

REQUESTS_AT_ONCE = 25  # they may be large


@asynccontextmanager
async def service(settings: SenderSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole sender."""
    keyring = settings.keyring()
    amqp = settings.amqp_url.get_secret_value()
    arrived, recorded = asyncio.Event(), asyncio.Event()
    relay = smtp.Relay(settings.relay_host, settings.relay_port, settings.hostname, settings.relay_timeout)
    async with (
        postgres.connected(settings.database_url.get_secret_value(), "sender", migrate=settings.migrate) as pool,
        publishing(amqp, timeout=settings.publish_timeout) as publisher,
    ):
        queue = Queue(pool, timedelta(seconds=settings.lease_seconds), timedelta(seconds=settings.doubt_seconds))
        listed = Suppressions(pool)
        take = partial(intake.take, queue, publisher, settings, arrived, recorded)
        user = URL(amqp).user or "guest"
        keys = settings.keys()
        apps = Apps(keys, frozenset({user, *settings.app_header_users}), settings.default_app)
        door = Door(queue, publisher, settings, keys, user)
        of_suppressions = (
            *suppressions.routes(listed, keyring, keys),
            *suppression_files.routes(listed, keyring, keys),
        )
        consume = partial(consuming, amqp, publisher=publisher, transient=postgres.TRANSIENT)
        async with (
            background(outbox.drain(queue, publisher, recorded)),
            http.serving(api(door.send, *of_suppressions), settings.host, settings.api_port),
            deliver.sending(deliver.Sending(queue, keyring, relay, settings, recorded), arrived),
            consume(topology.SENDER_EVENTS, EVENTS, partial(feedback.learn, listed, keyring)) as events,
            consume(topology.SENDER_BULK, intake.codec("bulk", apps), take, most=REQUESTS_AT_ONCE) as bulk,
            consume(topology.SENDER_NORMAL, intake.codec("normal", apps), take, most=REQUESTS_AT_ONCE) as normal,
        ):
            checks["database"] = postgres.check(pool)
            for part in (publisher.session, events, bulk, normal):
                checks[part.name] = part.check
            yield
        await outbox.flush(queue, publisher)
