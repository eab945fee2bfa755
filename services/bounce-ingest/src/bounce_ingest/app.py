"""Assembles bounce-ingest: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from bounce_ingest import smtp
from bounce_ingest.api import api
from bounce_ingest.parsers.pool import parsing
from bounce_ingest.receive import receive
from bounce_ingest.report import understand
from bounce_ingest.settings import BounceIngestSettings
from bounce_ingest.webhooks.apart import set_apart
from bounce_ingest.webhooks.certificates import fetching
from bounce_ingest.webhooks.providers import providers
from bounce_ingest.webhooks.take import Webhooks
from tracepost import http
from tracepost.broker import publishing
from tracepost.runner import Checks


@asynccontextmanager
async def service(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole of bounce-ingest."""
    keyring = settings.keyring()
    async with (
        publishing(settings.amqp_url.get_secret_value(), timeout=settings.confirm_within) as publisher,
        parsing(understand, settings.parsers, settings.limits()) as parsers,
        fetching() as certificates,
    ):
        take = partial(receive, parsers.parse, publisher, keyring)
        hooks = Webhooks(providers(settings, certificates), keyring, publisher.publish, partial(set_apart, publisher))
        async with (
            smtp.serving(settings, smtp.ReturnPaths(settings.bounce_domain, keyring, take)),
            http.serving(api(settings.cors_origins, *hooks.routes()), settings.host, settings.api_port),
        ):
            checks[publisher.session.name] = publisher.session.check
            checks["parsers"] = parsers.check
            yield
