"""Assembles bounce-ingest: the order of `async with` is the order of the start, its reverse that of the stop."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from socket import socket

from bounce_ingest import pipe, smtp
from bounce_ingest.api import api
from bounce_ingest.delivered_to import recipients
from bounce_ingest.maildir import Maildir
from bounce_ingest.parsers.pool import parsing
from bounce_ingest.quarantine import forget, housekeeping, routes
from bounce_ingest.quarantine.store import quarantining
from bounce_ingest.receive import TRY_AGAIN, Receiving
from bounce_ingest.report import understand
from bounce_ingest.settings import BounceIngestSettings
from bounce_ingest.smtp.caps import Caps
from bounce_ingest.smtp.mailboxes import Mailboxes
from bounce_ingest.webhooks.certificates import fetching
from bounce_ingest.webhooks.providers import providers
from bounce_ingest.webhooks.take import Webhooks
from tracepost import http, postgres, runner, topology, workers
from tracepost.broker import EVENTS, consuming, publishing
from tracepost.runner import Checks, background


@asynccontextmanager
async def service(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[None]:
    """The whole of bounce-ingest: one process, or the parent of several."""
    if settings.workers == 1:
        async with _worker(settings, checks):
            yield
    else:
        crew = workers.Crew("bounce_ingest", settings.workers, settings.ports(), settings.of_worker)
        async with workers.supervising(crew, checks):
            yield


@asynccontextmanager
async def watch(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[None]:
    """How others look at it: a worker tells its parent."""
    told = (
        runner.admin_port(settings, checks)
        if settings.parent_fd is None
        else workers.reporting(settings.parent_fd, checks)
    )
    async with told:
        yield


def main() -> None:
    """The whole of `__main__`: a service, or `pipe` with the addresses of the one mail on standard input."""
    if sys.argv[1:2] == ["pipe"]:
        sys.exit(pipe.main(_take, sys.argv[2:]))
    runner.main(BounceIngestSettings, service, watch)


async def _take(settings: BounceIngestSettings, addresses: Sequence[str], mail: bytes) -> None:
    """Take one mail that another mail server has taken already."""
    async with _receiving(settings, {}) as receiving:
        await receiving.receive("pipe", _mailboxes(settings).first(addresses or recipients(mail)), mail)


@asynccontextmanager
async def _receiving(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[Receiving]:
    keyring, within = settings.keyring(), settings.confirm_within
    database = settings.database_url.get_secret_value()
    async with (
        postgres.connected(database, "bounce_ingest", migrate=settings.migrate) as pool,
        publishing(settings.amqp_url.get_secret_value(), timeout=within) as publisher,
        quarantining(pool, keyring, within) as quarantine,
        parsing(understand, settings.parsers, settings.limits()) as parsers,
    ):
        checks["database"] = postgres.check(pool)
        checks[publisher.session.name] = publisher.session.check
        checks["parsers"] = parsers.check
        yield Receiving(parsers.parse, publisher, quarantine, keyring)


@asynccontextmanager
async def _worker(settings: BounceIngestSettings, checks: Checks) -> AsyncIterator[None]:
    async with _receiving(settings, checks) as receiving, fetching() as certificates, AsyncExitStack() as further:
        quarantine, publisher = receiving.quarantine, receiving.publisher
        hooks = Webhooks(providers(settings, certificates), receiving.keyring, publisher.publish, quarantine.keep)
        readers = dict.fromkeys(("smtp", "lmtp", "pipe", "maildir"), receiving.read_again)
        held = routes.routes(quarantine, publisher, settings.keys(), {**readers, "webhook": hooks.read_again})
        door = smtp.Door(
            _mailboxes(settings), Caps(settings.most(), settings.trusted_networks), receiving.receive, TRY_AGAIN
        )
        if settings.worker == 0:
            await further.enter_async_context(background(housekeeping.keep_house(quarantine, settings.bounds())))
            for each in _maildirs(settings, receiving):
                checks[f"maildir {each.folder}"] = each.check
                await further.enter_async_context(background(each.watch()))
        certificate = _certificate(settings)
        if certificate:
            await further.enter_async_context(background(certificate.follow()))
        amqp, forgetting = settings.amqp_url.get_secret_value(), partial(forget.forget, quarantine)
        api_socket, smtp_socket, *lmtp_socket = _sockets(settings)
        async with (
            consuming(
                amqp, topology.BOUNCE_INGEST_EVENTS, EVENTS, forgetting, publisher, transient=postgres.TRANSIENT
            ) as events,
            http.serving(
                api(settings.cors_origins, *held, *hooks.routes()), settings.host, settings.api_port, api_socket
            ),
            smtp.serving(door, _manners(settings, certificate), [smtp_socket], lmtp_socket),
        ):
            checks[events.name] = events.check
            yield


def _mailboxes(settings: BounceIngestSettings) -> Mailboxes:
    return Mailboxes(settings.bounce_domain, settings.keyring())


def _maildirs(settings: BounceIngestSettings, receiving: Receiving) -> list[Maildir]:
    mailboxes = _mailboxes(settings)

    async def take(mail: bytes) -> None:
        await receiving.receive("maildir", mailboxes.first(recipients(mail)), mail)

    return [Maildir(folder, settings.kept_bytes, take, TRY_AGAIN) for folder in settings.maildirs]


def _certificate(settings: BounceIngestSettings) -> smtp.Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return smtp.Certificate(settings.tls_certificate, settings.tls_key)


def _manners(settings: BounceIngestSettings, certificate: smtp.Certificate | None) -> smtp.Manners:
    return smtp.Manners(
        settings.hostname,
        settings.most_bytes,
        settings.kept_bytes,
        settings.session_timeout,
        settings.session_seconds,
        certificate.context if certificate else None,
    )


def _sockets(settings: BounceIngestSettings) -> list[socket]:
    """In the order of the ports."""
    if settings.listen_fds:
        return [socket(fileno=each) for each in settings.listen_fds]
    return [workers.listening(*each) for each in settings.ports()]
