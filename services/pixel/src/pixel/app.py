"""Assembles the pixel: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pixel.opens import application
from pixel.settings import PixelSettings
from tracepost import http
from tracepost.broker import publishing
from tracepost.runner import Checks


@asynccontextmanager
async def service(settings: PixelSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole pixel."""
    async with (
        publishing(settings.amqp_url.get_secret_value(), timeout=settings.answer_within) as publisher,
        http.serving(
            application(settings.keyring(), publisher, settings.trusted_proxies), settings.host, settings.port
        ),
    ):
        checks[publisher.session.name] = publisher.session.check
        yield
