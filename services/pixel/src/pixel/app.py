"""Assembles the pixel: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from pixel import spool, verdict
from pixel.http1 import serving
from pixel.keep import drain, keep
from pixel.places import Atlas, Ranges
from pixel.receive import Own, receive
from pixel.settings import PixelSettings
from tracepost import metrics, workers
from tracepost.broker import publishing
from tracepost.limit import Limit
from tracepost.runner import Checks, admin_port, background

log = structlog.get_logger()


@asynccontextmanager
async def service(settings: PixelSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole pixel: one process, or the parent of several."""
    if settings.parent_fd is None:
        metrics.SPOOL_BYTES.set_function(partial(spool.size, settings.spool))
    if settings.workers == 1:
        async with _worker(settings, checks):
            yield
    else:
        crew = workers.Crew("pixel", settings.workers, [(settings.host, settings.port)], settings.of_worker)
        async with workers.supervising(crew, checks):
            yield


@asynccontextmanager
async def watch(settings: PixelSettings, checks: Checks) -> AsyncIterator[None]:
    """How others look at it: a worker tells its parent."""
    told = admin_port(settings, checks) if settings.parent_fd is None else workers.reporting(settings.parent_fd, checks)
    async with told:
        yield


@asynccontextmanager
async def _worker(settings: PixelSettings, checks: Checks) -> AsyncIterator[None]:
    log.info("verdicts", version=verdict.version(), rules=len(verdict.rules()))
    atlas = Atlas(settings.trusted_proxies, Ranges(settings.own_networks), settings.relay)
    own = Own(tuple(agent.lower() for agent in settings.own_agents))
    receiving = partial(receive, settings.keyring(), atlas, own, Limit(settings.opens_a_minute))
    async with (
        spool.spooling(settings.spool, settings.spool_bytes) as kept,
        publishing(settings.amqp_url.get_secret_value(), timeout=settings.answer_within) as publisher,
        background(drain(publisher, kept)),
        serving(
            partial(receiving, partial(keep, publisher, kept)),
            _where(settings),
            most=settings.most_connections,
            patience=settings.patience,
        ),
    ):
        checks[publisher.session.name] = publisher.session.check
        yield


def _where(settings: PixelSettings) -> tuple[str, int] | socket.socket:
    if settings.listen_fd is None:
        return settings.host, settings.port
    return socket.socket(fileno=settings.listen_fd)
