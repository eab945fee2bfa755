"""PostgreSQL: a pool, migrations from numbered files, and SQL kept in `.sql` files."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TypeAlias

import asyncpg
import structlog

from tracepost.http import Check
from tracepost.runner import Unavailable

log = structlog.get_logger()

# As text: asyncpg's classes take a type argument for the type checker alone.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# What a handler waits out in process: the server is away, restarting, out of room, or a lock was not had.
TRANSIENT: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)

_MIGRATION_LOCK = 7_274_063_001


@asynccontextmanager
async def connected(url: str, package: str, *, size: int = 8) -> AsyncIterator[Pool]:
    """A pool on a database brought up to date with `<package>/sql/migrations`; Unavailable tells why not."""
    try:
        pool = await asyncpg.create_pool(
            url, min_size=1, max_size=size, timeout=10, command_timeout=60, init=_json_as_python
        )
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable(f"PostgreSQL cannot be used: {error}; check the service's database_url") from error
    try:
        async with pool.acquire() as connection:
            await _migrate(connection, package)
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), 5)
        except TimeoutError:
            pool.terminate()


async def _json_as_python(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    # In the binary format, which begins with a version: in the text format, jsonb could not be a column of row types.
    await connection.set_type_codec(
        "jsonb", encoder=_as_jsonb, decoder=lambda raw: json.loads(raw[1:]), schema="pg_catalog", format="binary"
    )


def _as_jsonb(value: object) -> bytes:
    return b"\x01" + (value if isinstance(value, str) else json.dumps(value, default=str)).encode()


async def _migrate(connection: Connection, package: str) -> None:
    known = {
        each.name: each.read_text()
        for each in files(package).joinpath("sql/migrations").iterdir()
        if each.name.endswith(".sql")
    }
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = {
            row["name"]: row["checksum"] for row in await connection.fetch("SELECT name, checksum FROM migrations")
        }
        if newer := sorted(applied.keys() - known.keys()):
            raise Unavailable(
                f"the database is newer than this version: it has {', '.join(newer)}; install the newer version"
            )
        for name, sql in sorted(known.items()):
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            if applied.get(name, checksum) != checksum:
                raise Unavailable(f"migration {name} was changed after it was applied; restore the file")
            if name not in applied:
                await connection.execute(sql)
                await connection.execute("INSERT INTO migrations (name, checksum) VALUES ($1, $2)", name, checksum)
                log.info("migrated", migration=name)


def load(package: str) -> dict[str, str]:
    """The statements of `<package>/sql/*.sql`: each begins with a line `-- name: <its name>`."""
    statements: dict[str, str] = {}
    for file in files(package).joinpath("sql").iterdir():
        if file.name.endswith(".sql"):
            for part in file.read_text().split("-- name: ")[1:]:
                name, _, sql = part.partition("\n")
                statements[name.strip()] = sql.strip()
    return statements


def check(pool: Pool) -> Check:
    """A readiness check that asks the database something."""

    async def ask() -> str | None:
        try:
            await pool.fetchval("SELECT 1")
        except TRANSIENT as error:
            return f"PostgreSQL: {error}"
        return None

    return ask
