"""Looks at a service's PostgreSQL: whether it can be used, is where the migrations lead, and agrees about the time."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TypeAlias

import asyncpg

from tracepost import postgres
from tracepost.doctor.findings import Finding
from tracepost.runner import Unavailable

TIMEOUT = 10.0
SKEW = 2.0  # seconds that clocks may differ: the order of what happens to a mail is told by times

# As text: asyncpg's classes take a type argument for the type checker alone.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def examine(service: str, url: str) -> list[Finding]:
    """What is to be said of the service's database."""
    check = f"database of {service}"
    remedy = (
        f"check TRACEPOST_{service.replace('-', '_').upper()}_DATABASE_URL, and that the server runs and takes its user"
    )
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding(check, "error", f"cannot be used: {error or type(error).__name__}", remedy)]
    try:
        return [_version(check, connection), await _level(check, service, connection), await _clock(check, connection)]
    finally:
        await connection.close(timeout=TIMEOUT)


def _version(check: str, connection: Connection) -> Finding:
    version = connection.get_server_version()
    try:
        postgres.refuse_old(version)
    except Unavailable as error:
        return Finding(check, "error", f"PostgreSQL {version.major}", str(error))
    return Finding(check, "ok", f"PostgreSQL {version.major} takes our user")


async def _level(check: str, service: str, connection: Connection) -> Finding:
    check, package = f"migrations of the {check}", service.replace("-", "_")
    applied = await postgres.applied(connection) or {}
    last = max(applied, default="none")
    if find_spec(package) is None:
        return Finding(
            check, "ok", f"{last}; {service} is not installed here, so that nobody knows whether that is all"
        )
    migrate = f"start {service} once with TRACEPOST_MIGRATE=true, or run `python -m {package} --migrate`"
    try:
        missing = postgres.missing(postgres.migrations(package), applied)
    except Unavailable as error:
        found, _, remedy = str(error).partition("; ")
        return Finding(check, "error", found, remedy)
    if missing:
        return Finding(check, "warning", f"lacks {', '.join(each.name for each in missing)}", migrate)
    return Finding(check, "ok", f"{last} is the last")


async def _clock(check: str, connection: Connection) -> Finding:
    before = time.time()
    theirs: float = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    ours = (before + time.time()) / 2
    check, skew = f"clock of the {check}", abs(theirs - ours)
    if skew > SKEW + (time.time() - before):
        return Finding(check, "warning", f"differs from this machine's by {skew:.1f} s", "synchronise both by NTP")
    return Finding(check, "ok", "agrees with this machine's")
