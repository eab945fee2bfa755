"""PostgreSQL: a pool, migrations from numbered files, and SQL kept in `.sql` files."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import NamedTuple, TypeAlias

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
    asyncpg.InternalClientError,  # also of a connection that the server has just closed while it was idle
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)

OLDEST = 14  # the oldest major version of PostgreSQL that is supported

LOCK_TIMEOUT = "5s"  # who waits for a lock says nothing; who is refused it says so in /readyz and tries again

_MIGRATION_LOCK = 7_274_063_001
# Not to_regclass(): after the wait for another process it would still say what it said before.
_HAS_TABLE = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'migrations' AND pg_table_is_visible(oid))"
_TABLE = """
CREATE TABLE migrations
(name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""


class Migration(NamedTuple):
    """A file `NNN_<name>.sql`."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What the database keeps of the file."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@asynccontextmanager
async def connected(url: str, package: str, *, migrate: bool = True, size: int = 8) -> AsyncIterator[Pool]:
    """A pool on a database that is where `<package>/sql/migrations` leads; Unavailable tells why not.

    Missing migrations are applied, or with `migrate` false refused.
    """
    try:
        await _bring_up_to_date(url, package, migrate)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unusable(error) from error
    async with pooled(url, package, size) as pool:
        yield pool


@asynccontextmanager
async def pooled(url: str, package: str, size: int, **settings: str) -> AsyncIterator[Pool]:
    """A pool with these settings of the server, on a database that is up to date; Unavailable tells why not."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            timeout=10,
            command_timeout=60,
            init=_json_as_python,
            reset=_as_it_is,
            server_settings={"lock_timeout": LOCK_TIMEOUT, "application_name": package.replace("_", "-"), **settings},
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unusable(error) from error
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


def _unusable(error: Exception) -> Unavailable:
    return Unavailable(f"PostgreSQL cannot be used: {str(error) or repr(error)}; check the service's database_url")


async def _json_as_python(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    # In the binary format, which begins with a version: in the text format, jsonb could not be a column of row types.
    await connection.set_type_codec(
        "jsonb", encoder=_as_jsonb, decoder=lambda raw: json.loads(raw[1:]), schema="pg_catalog", format="binary"
    )


async def _as_it_is(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Our statements leave nothing behind in a session: a RESET after each would double the round trips."""


def _as_jsonb(value: object) -> bytes:
    return b"\x01" + (value if isinstance(value, str) else json.dumps(value, default=str)).encode()


def migrations(package: str) -> list[Migration]:
    """The files of `<package>/sql/migrations` in the order of their numbers; ValueError: they are not 001, 002, …"""
    folder = files(package).joinpath("sql/migrations")
    sql = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    found = sorted(Migration(file.name, file.read_text("utf-8")) for file in sql)
    if any(not each.name.startswith(f"{number:03}_") for number, each in enumerate(found, 1)):
        names = ", ".join(each.name for each in found)
        raise ValueError(f"{package}/sql/migrations: name the files 001_….sql, 002_….sql, and so on, not {names}")
    return found


def missing(known: Sequence[Migration], applied: Mapping[str, str]) -> list[Migration]:
    """What is to be applied yet; Unavailable: these names and checksums are no earlier state of ours."""
    if strange := sorted(applied.keys() - {each.name for each in known}):
        raise Unavailable(_of_strangers(strange, known))
    for each in known:
        if applied.get(each.name, each.checksum) != each.checksum:
            raise Unavailable(f"migration {each.name} was changed after it was applied; restore the file")
    left = [each for each in known if each.name not in applied]
    if left and applied and left[0].name < (last := max(applied)):
        raise Unavailable(
            f"the database lacks {left[0].name} although it has {last}, which comes later;"
            " restore the database, or give the file the next number"
        )
    return left


def _of_strangers(strange: Sequence[str], known: Sequence[Migration]) -> str:
    names = ", ".join(strange)
    if known and strange[0][:3] <= known[-1].name[:3]:
        return f"the database is another's: it has {names}; check database_url, each service has a database of its own"
    return f"the database is newer than this version: it has {names}; install the version that made it, or a later one"


async def _bring_up_to_date(url: str, package: str, migrate: bool) -> None:
    known = migrations(package)
    # Not one of the pool's, whose commands have a time limit.
    connection = await asyncpg.connect(url, timeout=10)
    try:
        refuse_old(connection.get_server_version())
        # An up-to-date database is only read, and a role that may do no more is enough.
        left = missing(known, await applied(connection) or {})
        if left and not migrate:
            names = ", ".join(each.name for each in left)
            raise Unavailable(
                f"the database is older than this version: it lacks {names};"
                f" start once with TRACEPOST_MIGRATE=true, or run `python -m {package} --migrate`"
            )
        if left:
            await _migrate(connection, known)
    finally:
        await connection.close(timeout=5)


def refuse_old(version: asyncpg.types.ServerVersion) -> None:
    """Unavailable: the server is older than the oldest that is supported."""
    if version.major < OLDEST:
        raise Unavailable(f"PostgreSQL {version.major} is too old; upgrade the server to {OLDEST} or later")


async def applied(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, str] | None:
    """The checksums of the applied migrations by their names; None where there was never one."""
    if not await connection.fetchval(_HAS_TABLE):
        return None
    return {row["name"]: row["checksum"] for row in await connection.fetch("SELECT name, checksum FROM migrations")}


async def _migrate(connection: asyncpg.Connection[asyncpg.Record], known: Sequence[Migration]) -> None:
    """All or nothing: whoever closes the connection before the COMMIT takes all back."""
    await connection.execute("BEGIN")
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _MIGRATION_LOCK):
        log.info("waits for another process that migrates")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
    # Behind a statement that waits for a table, all others of the running services would wait too.
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    already = await applied(connection)
    if already is None:
        await connection.execute(_TABLE)
    for each in missing(known, already or {}):
        await _apply(connection, each)
    await connection.execute("COMMIT")


async def _apply(connection: asyncpg.Connection[asyncpg.Record], migration: Migration) -> None:
    log.info("migrates", migration=migration.name)
    try:
        await connection.execute(migration.sql)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(
            f"migration {migration.name} failed, and nothing was changed: {error};"
            " remove the cause and start again, the earlier version still works on this database"
        ) from error
    await connection.execute(
        "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
    )


def load(package: str) -> dict[str, str]:
    """The statements of `<package>/sql/*.sql`, each after a line `-- name: <its name>`; ValueError: a name is twice."""
    statements: dict[str, str] = {}
    for file in files(package).joinpath("sql").iterdir():
        if file.name.endswith(".sql"):
            for part in file.read_text("utf-8").split("-- name: ")[1:]:
                name, _, sql = part.partition("\n")
                if name.strip() in statements:
                    raise ValueError(f"{package}/sql: two statements are named {name.strip()}; name each once")
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
