"""Assembles bounce-ingest: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bounce_ingest import smtp
from bounce_ingest.api import api
from bounce_ingest.parsers.pool import parsing
from bounce_ingest.quarantine.store import quarantining
from bounce_ingest.receive import Receiving
from bounce_ingest.report import understand
from bounce_ingest.settings import BounceIngestSettings
from tracepost import http, postgres
from tracepost.broker import publishing
from tracepost.runner import Checks


@asynccontextmanager
async def service(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole of bounce-ingest."""
    keyring, within = settings.keyring(), settings.confirm_within
    database = settings.database_url.get_secret_value()
    async with (
        postgres.connected(database, "bounce_ingest", migrate=settings.migrate) as pool,
        publishing(settings.amqp_url.get_secret_value(), timeout=within) as publisher,
        quarantining(pool, keyring, within) as quarantine,
        parsing(understand, settings.parsers, settings.limits()) as parsers,
    ):
        routes = ()
        receiving = Receiving(parsers.parse, publisher, quarantine, keyring)
        async with (
            http.serving(api(settings.cors_origins, *routes), settings.host, settings.api_port),
            smtp.serving(settings, smtp.ReturnPaths(settings.bounce_domain, keyring, receiving.receive)),
        ):
            checks["database"] = postgres.check(pool)
            checks[publisher.session.name] = publisher.session.check
            checks["parsers"] = parsers.check
            yield
