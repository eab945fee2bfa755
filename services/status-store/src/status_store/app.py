"""Assembles status-store: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from yarl import URL

from status_store import bury, changes, letters
from status_store.api import api
from status_store.record import record
from status_store.settings import StatusStoreSettings
from status_store.store import Store
from tracepost import http, postgres, topology
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.runner import Checks, background


@asynccontextmanager
async def service(settings: StatusStoreSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole of status-store."""
    amqp = settings.amqp_url.get_secret_value()
    keys, user = settings.keys(), URL(amqp).user or "guest"
    async with (
        postgres.connected(settings.database_url.get_secret_value(), "status_store") as pool,
        publishing(amqp, timeout=settings.publish_timeout) as publisher,
        http.serving(
            api(Store(pool), keys, *letters.routes(Store(pool), publisher, keys, user)),
            settings.host,
            settings.api_port,
        ),
        background(changes.drain(Store(pool), publisher)),
        consuming(
            amqp,
            topology.STATUS_STORE_EVENTS,
            EVENTS,
            partial(record, Store(pool)),
            publisher,
            most=settings.batch,
            transient=postgres.TRANSIENT,
        ) as consumer,
        consuming(
            amqp,
            topology.DEAD_LETTERS,
            bury.CODEC,
            partial(bury.bury, Store(pool)),
            publisher,
            transient=(Exception,),  # there is no queue behind this one: nothing is ever given up
        ) as graves,
    ):
        checks["database"] = postgres.check(pool)
        checks[publisher.session.name] = publisher.session.check
        checks[consumer.session.name] = consumer.session.check
        checks[graves.session.name] = graves.session.check
        yield
