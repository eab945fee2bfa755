"""Migrations against a real PostgreSQL: whole or not at all, once, and never against what the database says."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from yarl import URL

from tests.conftest import eventually
from tests.packages import Package
from tracepost import postgres
from tracepost.postgres import Pool, connected
from tracepost.runner import Unavailable

FIRST = {"001_tables.sql": "CREATE TABLE one (id integer); CREATE TABLE two (id integer);"}
SECOND = {"002_more.sql": "ALTER TABLE one ADD name text; CREATE TABLE three (id integer);"}
BROKEN = {"003_broken.sql": "CREATE TABLE four (id integer); INSERT INTO nowhere VALUES (1);"}
# Ends when the test lets it, so that others can be seen to wait for it.
SLOW = {
    "001_slow.sql": """
    CREATE TABLE one (id integer);
    DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
    """
}

LOCKS = "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = current_database()"
MIGRATING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"  # as SLOW does


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package with one migration."""
    package = Package(tmp_path, monkeypatch)
    package.write(FIRST)
    return package


@pytest.fixture
async def look(database: str) -> AsyncIterator[Pool]:
    """A way into the database that is not the service's."""
    async with asyncpg.create_pool(database, min_size=0, max_size=3) as pool:
        yield pool


async def start(database: str, package: Package, *, migrate: bool = True) -> None:
    async with connected(database, package.name, migrate=migrate) as pool:
        assert await pool.fetchval("SELECT 1") == 1


async def tables(look: Pool) -> set[str]:
    return {row[0] for row in await look.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


async def applied(look: Pool) -> list[str]:
    return [row[0] for row in await look.fetch("SELECT name FROM migrations ORDER BY applied_at, name")]


async def test_an_empty_database_is_migrated_once(database: str, package: Package, look: Pool) -> None:
    await start(database, package)
    assert await tables(look) == {"migrations", "one", "two"}
    before = await look.fetch("SELECT * FROM migrations")
    await start(database, package)
    assert await look.fetch("SELECT * FROM migrations") == before


async def test_only_what_is_missing_is_applied(database: str, package: Package, look: Pool) -> None:
    await start(database, package)
    package.write(FIRST | SECOND)
    await start(database, package)
    assert await applied(look) == ["001_tables.sql", "002_more.sql"]
    assert await look.fetch("SELECT id, name FROM one") == []


async def test_told_not_to_migrate_it_says_what_is_missing(database: str, package: Package, look: Pool) -> None:
    package.write(FIRST | SECOND)
    remedy = rf"TRACEPOST_MIGRATE=true, or run `python -m {package.name} --migrate`"
    with pytest.raises(Unavailable, match=rf"lacks 001_tables.sql, 002_more.sql;.*{remedy}"):
        await start(database, package, migrate=False)
    assert await tables(look) == set()
    package.write(FIRST)
    await start(database, package)
    await start(database, package, migrate=False)
    package.write(FIRST | SECOND)
    with pytest.raises(Unavailable, match=rf"lacks 002_more.sql;.*{remedy}"):
        await start(database, package, migrate=False)
    assert await applied(look) == ["001_tables.sql"]


@pytest.mark.parametrize("migrate", [True, False])
async def test_what_the_database_says_otherwise_is_refused(
    database: str, package: Package, look: Pool, migrate: bool
) -> None:
    package.write(FIRST | SECOND)
    await start(database, package)
    package.write(FIRST)
    with pytest.raises(Unavailable, match=r"newer than this version: it has 002_more.sql; install the version"):
        await start(database, package, migrate=migrate)
    package.write(FIRST | {"002_more.sql": "-- changed"})
    with pytest.raises(Unavailable, match=r"002_more.sql was changed after it was applied; restore the file"):
        await start(database, package, migrate=migrate)
    package.write(FIRST | SECOND)
    await look.execute("DELETE FROM migrations WHERE name = '001_tables.sql'")
    with pytest.raises(Unavailable, match=r"lacks 001_tables.sql although it has 002_more.sql.*restore the database"):
        await start(database, package, migrate=migrate)


async def test_one_that_fails_leaves_nothing(database: str, package: Package, look: Pool) -> None:
    await start(database, package)
    package.write(FIRST | SECOND | BROKEN)
    with pytest.raises(Unavailable, match=r'003_broken.sql failed, and nothing was changed: relation "nowhere"'):
        await start(database, package)
    assert await tables(look) == {"migrations", "one", "two"}
    assert await applied(look) == ["001_tables.sql"]
    package.write(FIRST)
    await start(database, package, migrate=False)  # the earlier version


async def test_one_that_waits_for_a_table_gives_up_before_others_pile_up(
    database: str, package: Package, look: Pool
) -> None:
    await start(database, package)
    package.write(FIRST | SECOND)
    async with look.acquire() as reader, reader.transaction():
        await reader.execute("SELECT FROM one")
        migrating = asyncio.create_task(start(database, package))
        await eventually(lambda: waiting(look, "relation"))
        async with asyncio.timeout(10):
            await look.execute("INSERT INTO one VALUES (1)")  # held up as long as the migration waits
        with pytest.raises(Unavailable, match=r"002_more.sql failed, and nothing was changed: .*lock timeout"):
            await migrating
    await start(database, package)
    assert await look.fetchval("SELECT count(*) FROM one") == 1


async def waiting(look: Pool, kind: str) -> int:
    """How many wait for a lock of this kind."""
    return len(await look.fetch(f"{LOCKS} AND locktype = $1 AND NOT granted", kind))


async def test_while_one_migrates_the_others_wait(database: str, package: Package, look: Pool) -> None:
    await look.execute("CREATE TABLE gate (open boolean)")
    package.write(SLOW)
    starts = [asyncio.create_task(start(database, package)) for _ in range(5)]

    async def all_but_one_wait() -> bool:
        return await waiting(look, "advisory") == len(starts) - 1

    await eventually(all_but_one_wait)
    assert not any(each.done() for each in starts)
    await look.execute("INSERT INTO gate VALUES (true)")
    await asyncio.gather(*starts)
    assert await applied(look) == ["001_slow.sql"]


async def test_who_waited_for_one_that_failed_does_it(database: str, package: Package, look: Pool) -> None:
    await look.execute("CREATE TABLE gate (open boolean)")
    package.write(SLOW)
    starts = [asyncio.create_task(start(database, package)) for _ in range(2)]

    async def one_migrates_and_one_waits() -> bool:
        return bool(await look.fetch(MIGRATING)) and await waiting(look, "advisory") == 1

    await eventually(one_migrates_and_one_waits)
    (holder,) = await look.fetch(f"{LOCKS} AND locktype = 'advisory' AND granted")
    await look.execute("SELECT pg_terminate_backend($1)", holder["pid"])
    await look.execute("INSERT INTO gate VALUES (true)")
    results = await asyncio.gather(*starts, return_exceptions=True)
    (failure,) = (each for each in results if each is not None)
    assert isinstance(failure, Unavailable)
    assert re.search(r"001_slow.sql failed, and nothing was changed: .*terminating connection", str(failure))
    assert await applied(look) == ["001_slow.sql"]


@pytest.fixture
async def reader(database: str, look: Pool) -> AsyncIterator[str]:
    """The URL for a role that may read what is there, and create nothing."""
    role = f"reader_{secrets.token_hex(4)}"
    await look.execute(f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    await look.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}")
    yield str(URL(database).with_user(role))
    await look.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("migrate", [True, False])
async def test_a_role_that_may_only_read_starts_on_what_is_up_to_date(
    database: str, package: Package, reader: str, migrate: bool
) -> None:
    await start(database, package)
    await start(reader, package, migrate=migrate)


async def test_a_role_that_may_only_read_is_told_that_it_cannot_migrate(
    database: str, package: Package, reader: str
) -> None:
    with pytest.raises(Unavailable, match="permission denied for schema public"):
        await start(reader, package)
    await start(database, package)
    package.write(FIRST | SECOND)
    with pytest.raises(Unavailable, match=r"lacks 002_more.sql"):
        await start(reader, package, migrate=False)
    with pytest.raises(Unavailable, match=r"002_more.sql failed, and nothing was changed: must be owner of table one"):
        await start(reader, package)


async def test_what_cannot_be_reached_is_told(database: str, package: Package) -> None:
    with pytest.raises(Unavailable, match=r"does not exist; check the service's database_url"):
        await start(f"{database}_2", package)
    with pytest.raises(Unavailable, match=r"cannot be used: .*scheme.*; check the service's database_url"):
        await start("amqp://127.0.0.1/x", package)


async def test_a_server_that_is_too_old_is_refused(
    database: str, package: Package, look: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "OLDEST", 1000)
    with pytest.raises(Unavailable, match=r"PostgreSQL \d+ is too old; upgrade the server to 1000 or later"):
        await start(database, package)
    assert await tables(look) == set()


async def run(service: str, *arguments: str, **settings: str) -> tuple[int, str]:
    """The exit code of a service's process and all that it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", service, *arguments),
        env={"PATH": os.environ["PATH"]} | {f"TRACEPOST_{name}": value for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, written.decode()


async def test_processes_that_migrate_at_once(database: str, token_keys: str, look: Pool) -> None:
    settings = {"DATABASE_URL": database, "TOKEN_KEYS": token_keys, "MIGRATE": "false"}
    ended = await asyncio.gather(*(run("status_store", "--migrate", **settings) for _ in range(3)))
    assert [code for code, _ in ended] == [os.EX_OK] * 3
    assert sum("001_status.sql" in written for _, written in ended) == 1
    assert all("the database is up to date" in written for _, written in ended)
    assert await applied(look) != []


async def test_a_service_that_may_not_migrate_refuses_to_start(database: str, token_keys: str) -> None:
    settings = {"DATABASE_URL": database, "TOKEN_KEYS": token_keys, "SENDER_MIGRATE": "false"}
    settings |= {"BOUNCE_DOMAIN": "b.test", "PIXEL_URL": "http://p.test", "ADMIN_PORT": "0", "SENDER_API_PORT": "0"}
    code, written = await run("sender", **settings)
    assert code == os.EX_UNAVAILABLE
    assert "lacks 001_queue.sql" in written
    assert "python -m sender --migrate" in written


async def test_the_database_of_another_service_is_left_alone(database: str, token_keys: str) -> None:
    settings = {"DATABASE_URL": database, "TOKEN_KEYS": token_keys}
    assert (await run("status_store", "--migrate", **settings))[0] == os.EX_OK
    code, written = await run("sender", "--migrate", **settings, BOUNCE_DOMAIN="b.test", PIXEL_URL="http://p.test")
    assert code == os.EX_UNAVAILABLE
    assert "another's: it has 001_status.sql" in written


async def test_a_service_without_a_database_has_nothing_to_migrate(token_keys: str) -> None:
    code, written = await run("pixel", "--migrate", TOKEN_KEYS=token_keys)
    assert code == 2
    assert "unrecognized arguments: --migrate" in written
