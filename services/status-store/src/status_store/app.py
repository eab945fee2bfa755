"""Assembles status-store: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from yarl import URL

from status_store import (
    bury,
    changes,
    console,
    following,
    housekeeping,
    letters,
    messages,
    openapi,
    recipients,
    replies,
    search,
    sessions,
    settling,
    stats,
    views,
)
from status_store.api import api
from status_store.fast_path import fast_path
from status_store.feed import Feed
from status_store.graves import Graves
from status_store.issues import Issues
from status_store.live import Live
from status_store.logins import Logins
from status_store.queries import Queries
from status_store.receipts import Receipts
from status_store.record import record
from status_store.settings import StatusStoreSettings
from status_store.store import Store
from tracepost import http, postgres, topology
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.partitions import OutOfMonths
from tracepost.runner import Checks, background

READERS = 4  # connections for the API
# To plan anew costs as much as to read twenty messages, and no statement of the API is the better for it.
READING = {"statement_timeout": "10s", "plan_cache_mode": "force_generic_plan"}


@asynccontextmanager
async def service(settings: StatusStoreSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole of status-store."""
    amqp = settings.amqp_url.get_secret_value()
    keys, keyring, user = settings.keys(), settings.keyring(), URL(amqp).user or "guest"
    database = settings.database_url.get_secret_value()
    async with (
        postgres.connected(database, "status_store", migrate=settings.migrate) as pool,
        # Who asks holds up no event: neither for want of a connection, nor for long.
        postgres.pooled(database, "status_store", READERS, **READING) as reading,
        publishing(amqp, timeout=settings.publish_timeout) as publisher,
    ):
        store, queries, feed = Store(pool, settings.retention_months, keyring), Queries(reading), Feed(reading)
        live, receipts, graves = Live(feed.now, feed.after), Receipts(pool, reading), Graves(pool)
        await housekeeping.begin(store, pool)
        routes = (
            *messages.routes(queries, keys),
            *views.routes(queries, live, keys, keyring, timedelta(minutes=settings.view_minutes)),
            *following.routes(feed, live, keys),
            *search.routes(queries, Issues(pool), keyring, keys),
            *stats.routes(queries, keys),
            *replies.routes(queries, publisher, keys),
            *recipients.routes(receipts, partial(settling.settle_soon, receipts, publisher), keyring, keys),
            *letters.routes(graves, publisher, keys, user),
            *sessions.routes(Logins(pool), keys),
            *openapi.routes(),
            *console.routes(settings.sender_url, settings.bounce_ingest_url),
        )
        application = api(settings.cors_origins, *routes)
        application.on_shutdown.append(live.end)
        async with (
            queries.running(),
            background(live.run()),
            http.answering(application) as ordinary,
            fast_path(queries.point, keys, ordinary) as protocol,
            http.listening(protocol, settings.host, settings.api_port),
            background(housekeeping.keep_house(store, pool, timedelta(days=settings.changes_kept_days))),
            background(changes.drain(store, publisher)),
            background(settling.keep_on(receipts, publisher)),
            consuming(
                amqp,
                topology.STATUS_STORE_EVENTS,
                EVENTS,
                partial(record, store),
                publisher,
                most=settings.batch,
                at_once=settings.batches_at_once,  # one is folded while the database works at another
                transient=(*postgres.TRANSIENT, OutOfMonths),
            ) as events,
            consuming(
                amqp,
                topology.DEAD_LETTERS,
                bury.CODEC,
                partial(bury.bury, graves),
                publisher,
                transient=(Exception,),  # there is no queue behind this one: nothing is ever given up
            ) as burying,
        ):
            checks["database"] = postgres.check(pool)
            for part in (publisher.session, events, burying):
                checks[part.name] = part.check
            yield


async def upkeep(settings: StatusStoreSettings, pool: postgres.Pool) -> None:
    """What the tables' owner does beside the migrations."""
    await housekeeping.begin(Store(pool, settings.retention_months, settings.keyring()), pool)
