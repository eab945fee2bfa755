"""Assembles bounce-ingest: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from bounce_ingest import smtp
from bounce_ingest.parsers.pool import parsing
from bounce_ingest.receive import receive
from bounce_ingest.report import understand
from bounce_ingest.settings import BounceIngestSettings
from tracepost.broker import publishing
from tracepost.runner import Checks


@asynccontextmanager
async def service(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole of bounce-ingest."""
    keyring = settings.keyring()
    async with (
        publishing(settings.amqp_url.get_secret_value(), timeout=settings.confirm_within) as publisher,
        parsing(understand, settings.parsers, settings.limits()) as parsers,
    ):
        take = partial(receive, parsers.parse, publisher, keyring)
        async with smtp.serving(settings, smtp.ReturnPaths(settings.bounce_domain, keyring, take)):
            checks[publisher.session.name] = publisher.session.check
            checks["parsers"] = parsers.check
            yield
