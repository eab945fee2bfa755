"""An installation with least rights on real servers, made by what is shipped for that."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from yarl import URL

from local_stack import binaries
from local_stack.stack import Servers
from tests.conftest import ROOT
from tracepost import topology

DEPLOY = ROOT / "deploy"
TRACEPOST = Path(sys.executable).with_name("tracepost")
USERS = ("sender", "pixel", "bounce-ingest", "status-store")
ROLES = {"sender": "sender", "bounce-ingest": "bounce_ingest", "status-store": "status_store"}


async def least(servers: Servers, folder: Path, *, apps: tuple[str, ...] = ()) -> dict[str, str]:
    """The settings of services that run as users and roles of their own; the passwords are in `folder`."""
    database = URL(servers.postgres_url)
    await _run(DEPLOY / "make-secrets", folder, _place(servers.broker.amqp_url), _place(servers.postgres_url))
    for app in apps:
        (folder / f"amqp-password-{app}").write_text(app)
    await topology.apply(servers.broker.management_url)
    told = {"TRACEPOST_AMQP_MANAGEMENT_URL": servers.broker.management_url}
    await _run(TRACEPOST, "topology", "users", "--passwords", folder, *_options("--app", apps), env=told)
    await roles(database, folder)
    await asyncio.gather(*(_migrate(service, folder) for service in ROLES))
    await roles(database, folder)  # now that there are tables, and a list of migrations
    return _settings(folder)


async def roles(server: URL, folder: Path) -> None:
    """Run the shipped script, by the superuser of the server."""
    connection = {"PGHOST": server.host or "", "PGPORT": str(server.port), "PGUSER": server.user or ""}
    path = f"{binaries.find('psql').parent}:{os.environ.get('PATH', os.defpath)}"
    await _run(DEPLOY / "postgres" / "roles.sh", folder, env=connection | {"PATH": path})


def secret(folder: Path, name: str) -> str:
    """What make-secrets has written there."""
    return (folder / name).read_text()


def _settings(folder: Path) -> dict[str, str]:
    told = {f"{_prefix(user)}_AMQP_URL": secret(folder, f"amqp-url-{user}") for user in USERS}
    for service, role in ROLES.items():
        told[f"{_prefix(service)}_DATABASE_URL"] = secret(folder, f"postgres-url-{role}")
        told[f"{_prefix(service)}_MIGRATE"] = "false"
    return told | {
        "TRACEPOST_SENDER_APP_HEADER_USERS": "status-store",
        "TRACEPOST_TOKEN_KEYS": secret(folder, "token-keys"),
    }


async def _migrate(service: str, folder: Path) -> None:
    role = ROLES[service]
    settings = {
        "TRACEPOST_DATABASE_URL": secret(folder, f"postgres-url-{role}_owner"),
        "TRACEPOST_TOKEN_KEYS": secret(folder, "token-keys"),
        "TRACEPOST_BOUNCE_DOMAIN": "bounces.tracepost.test",
        "TRACEPOST_PIXEL_URL": "http://pixel.tracepost.test",
    }
    await _run(sys.executable, "-m", role, "--migrate", env=settings)


async def _run(*command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """AssertionError with what it wrote if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ.get("PATH", os.defpath), **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    assert process.returncode == 0, f"{command[:3]}: {written.decode()}"


def _place(url: str) -> str:
    return f"{URL(url).host}:{URL(url).port}"


def _prefix(service: str) -> str:
    return f"TRACEPOST_{service.upper().replace('-', '_')}"


def _options(name: str, values: tuple[str, ...]) -> list[str]:
    return [part for value in values for part in (name, value)]
