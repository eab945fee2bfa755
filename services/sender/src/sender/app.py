"""Assembles the sender: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from yarl import URL

from sender import (
    control,
    deliver,
    feedback,
    housekeeping,
    intake,
    outbox,
    signing,
    smtp,
    suppression_files,
    suppressions,
    watch,
)
from sender.api import api
from sender.apps import Apps
from sender.attempt import Sending, attempt
from sender.control_store import Control
from sender.door import Door
from sender.exchanges import Exchanges, Means, NoNameServers, Resolver, fetching
from sender.pacing import PaceLimits, Pacer
from sender.places import Places
from sender.policy_store import PolicyStore
from sender.routing.reach import Reach
from sender.routing.rests import Rests
from sender.settings import SenderSettings
from sender.store import Queue
from sender.suppression_store import Suppressions
from tracepost import http, postgres, topology
from tracepost.batches import Batches
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.partitions import OutOfMonths
from tracepost.runner import Checks, Unavailable, background

SIGNED_AT_ONCE = 32  # the first of them waits for the last
REQUESTS_AT_ONCE = 32  # they may be large, and twice as many are held


@asynccontextmanager
async def service(settings: SenderSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole sender."""
    keyring = settings.keyring()
    amqp = settings.amqp_url.get_secret_value()
    arrived, recorded = asyncio.Event(), asyncio.Event()
    limits = smtp.Limits(settings.route_connections, settings.concurrency, settings.idle_seconds, settings.reuse)
    opener = smtp.Opener(
        settings.hostname, smtp.Timeouts().at_most(settings.relay_timeout), smtp.contexts(settings.ca_file)
    )
    routes, rests, resolver = settings.routing(), Rests(), _resolver(settings)
    dkim = settings.dkim()
    watch.keys(dkim)
    async with (
        postgres.connected(settings.database_url.get_secret_value(), "sender", migrate=settings.migrate) as pool,
        publishing(amqp, timeout=settings.publish_timeout) as publisher,
        fetching(resolver, opener.contexts.verified, PolicyStore(pool)) as policies,
        smtp.pooling(opener, limits, rests) as connections,
    ):
        await housekeeping.begin(pool, settings.retention_months)
        queue = Queue(pool, timedelta(seconds=settings.lease_seconds), timedelta(seconds=settings.doubt_seconds))
        listed = Suppressions(pool)
        turn = asyncio.Lock()
        sending = Sending(
            queue,
            keyring,
            connections,
            routes,
            Exchanges(resolver, policies, Means(settings.us(), settings.require_tls, settings.mx_port, settings.ipv6)),
            settings,
            dkim,
            Batches(signing.sign, (), most=SIGNED_AT_ONCE),
            Batches(queue.suppressed, postgres.TRANSIENT, turn),
            Batches(queue.doubt, postgres.TRANSIENT, turn),
            Batches(queue.settle, postgres.TRANSIENT, turn),
            recorded,
        )
        pacer = Pacer(PaceLimits(settings.first_attempts, settings.most_attempts, rest=5.0, longest_rest=60.0))
        places = Places(pacer, Reach(routes, rests), settings.concurrency, settings.first_attempts, arrived)
        desk = deliver.Desk(queue, places, settings, partial(attempt, sending), arrived)
        take = partial(
            intake.take, intake.Intake(queue, publisher, keyring, settings, places, desk.begin, arrived, recorded)
        )
        learn = partial(feedback.learn, listed, watched=settings.watched_domains)
        user = URL(amqp).user or "guest"
        keys = settings.keys()
        apps = Apps(keys, frozenset({user, *settings.app_header_users}), settings.default_app)
        door = Door(queue, publisher, settings, keys, user)
        routes_of_api = (
            *suppressions.routes(listed, keyring, keys),
            *suppression_files.routes(listed, keyring, keys),
            *control.routes(Control(pool), keys, arrived.set),
        )
        consume = partial(consuming, amqp, publisher=publisher, transient=(*postgres.TRANSIENT, OutOfMonths))
        requests = partial(consume, most=REQUESTS_AT_ONCE)
        async with (
            background(housekeeping.keep_house(pool, settings.retention_months)),
            background(outbox.drain(queue, publisher, recorded)),
            http.serving(api(settings.cors_origins, door.send, *routes_of_api), settings.host, settings.api_port),
            sending.running(),
            deliver.sending(desk),
            consume(topology.SENDER_EVENTS, EVENTS, learn) as events,
            requests(topology.SENDER_BULK, intake.codec("bulk", apps), take) as bulk,
            requests(topology.SENDER_NORMAL, intake.codec("normal", apps), take) as normal,
        ):
            checks["database"] = postgres.check(pool)
            for part in (publisher.session, events, bulk, normal):
                checks[part.name] = part.check
            yield
        await outbox.flush(queue, publisher)


def _resolver(settings: SenderSettings) -> Resolver:
    try:
        return Resolver(settings.name_servers, settings.dns_timeout)
    except NoNameServers as error:
        raise Unavailable(f"{error}; set NAME_SERVERS") from None


async def upkeep(settings: SenderSettings, pool: postgres.Pool) -> None:
    """What the tables' owner does beside the migrations."""
    await housekeeping.begin(pool, settings.retention_months)
