"""Runs a service as a process: settings, logs, admin port, ordered start, bounded drain, exit codes as in sysexits."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from pydantic import ValidationError

from tracepost import http, logs, metrics
from tracepost.settings import DatabaseSettings, Settings, explain, printable

if TYPE_CHECKING:  # it imports this module
    from tracepost.postgres import Pool

log = structlog.get_logger()

# New objects until the collector looks through them. The default, 700, has it look at a batch of events, which holds no
# garbage that it could find, dozens of times: a tenth of the work.
GARBAGE = 50_000

AnySettings = TypeVar("AnySettings", bound=Settings)
Checks = dict[str, http.Check]
Service = Callable[[AnySettings, Checks], AbstractAsyncContextManager[None]]
# Lets others look at the service while it runs.
Watch = Callable[[AnySettings, Checks], AbstractAsyncContextManager[None]]
# What only the tables' owner may do beside the migrations: make and drop months.
Upkeep = Callable[[AnySettings, "Pool"], Awaitable[None]]


class Unavailable(Exception):
    """Something that the service cannot start without; its text says the remedy."""


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the block; its failure ends the block, the block's end cancels it."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()


@asynccontextmanager
async def admin_port(settings: Settings, checks: Checks) -> AsyncIterator[None]:
    """`/livez`, `/readyz` and `/metrics` on a port of its own."""
    async with http.serving(http.admin(checks), settings.host, settings.admin_port) as port:
        log.info("starting", admin_port=port)
        if strange := settings.unknown():  # told here, for a worker, which has no such port, would repeat it
            log.warning("unknown variables", variables=strange)
        yield


def main(
    settings_type: type[AnySettings],
    service: Service[AnySettings],
    watch: Watch[AnySettings] = admin_port,
    upkeep: Upkeep[AnySettings] | None = None,
) -> None:
    """The whole of a service's `__main__`."""
    sys.exit(run(settings_type, service, sys.argv[1:], watch, upkeep))


def run(
    settings_type: type[AnySettings],
    service: Service[AnySettings],
    argv: list[str],
    watch: Watch[AnySettings] = admin_port,
    upkeep: Upkeep[AnySettings] | None = None,
) -> int:
    """Start the service and serve until a signal; returns the exit code."""
    parser = argparse.ArgumentParser(prog=settings_type.service)
    parser.add_argument("--check-config", action="store_true", help="read the settings, say what is wrong, and stop")
    parser.add_argument("--print-config", action="store_true", help="print the settings with secrets masked, and stop")
    if issubclass(settings_type, DatabaseSettings):
        told = "apply missing migrations, make and drop months, and stop"
        parser.add_argument("--migrate", action="store_true", help=told)
    options = parser.parse_args(argv)
    settings = configured(settings_type)
    if settings is None or options.check_config:
        for each in settings_type.unknown():
            print(each, file=sys.stderr)  # noqa: T201 - where faults of the settings are told
    if settings is None:
        return os.EX_CONFIG
    if options.print_config:
        print(printable(settings))  # noqa: T201 - it is what was asked for
    if options.print_config or options.check_config:
        return os.EX_OK
    logs.configure(settings.service, settings.log_level)
    if began := settings.token_key_began():
        metrics.TOKEN_KEY_BEGAN.set(began.timestamp())
    _allow_many_connections()
    if isinstance(settings, DatabaseSettings) and options.migrate:
        return asyncio.run(_migrate(settings, upkeep))
    return asyncio.run(_serve(settings, service, watch))


def configured(settings_type: type[AnySettings]) -> AnySettings | None:
    """The settings as the environment gives them; None after it was printed what is wrong with them."""
    try:
        return settings_type.read()
    except (ValidationError, ValueError, OSError) as error:
        told = explain(error, settings_type.service) if isinstance(error, ValidationError) else str(error)
        print(told, file=sys.stderr)  # noqa: T201 - there is no logger without settings
        return None


def _allow_many_connections() -> None:
    """What is usual, 1,024 files, is meant for programs that use select(); we use epoll."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _migrate(settings: Any, upkeep: Upkeep[Any] | None) -> int:
    from tracepost import postgres  # which imports this module, and which services without a database do not need

    url, package = settings.database_url.get_secret_value(), settings.service.replace("-", "_")
    try:
        async with postgres.connected(url, package) as pool:
            if upkeep:
                await upkeep(settings, pool)
            log.info("the database is up to date")
    except Unavailable as error:
        log.error("cannot migrate", reason=str(error))
        return os.EX_UNAVAILABLE
    return os.EX_OK


async def _serve(settings: AnySettings, service: Service[AnySettings], watch: Watch[AnySettings]) -> int:
    stop = on_signals()
    checks: Checks = {}
    try:
        async with watch(settings, checks):
            await _until(stop, settings, service, checks)
    except Unavailable as error:
        log.error("cannot start", reason=str(error))
        return os.EX_UNAVAILABLE
    except TimeoutError:
        log.error("stopped with work in hand", after_s=settings.drain_timeout)
        return os.EX_TEMPFAIL
    except Exception:
        log.exception("failed")
        return 1
    log.info("stopped")
    return os.EX_OK


async def _until(stop: asyncio.Event, settings: AnySettings, service: Service[AnySettings], checks: Checks) -> None:
    async with asyncio.timeout(None) as limit:
        start = asyncio.create_task(stop.wait())
        async with service(settings, checks):
            gc.freeze()  # what is there now stays
            gc.set_threshold(GARBAGE)
            log.info("ready")
            await start
            log.info("draining", at_most_s=settings.drain_timeout)
            checks["draining"] = _draining
            limit.reschedule(asyncio.get_running_loop().time() + settings.drain_timeout)


async def _draining() -> str | None:
    return "the service is stopping"


def on_signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; the second one kills."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        log.info("signal", name=number.name)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, first, each)
    return stop
