"""Has each service that is installed here read its settings, and finds those that tell where its servers are."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from tracepost import dkim_keys
from tracepost.doctor.asked import read
from tracepost.doctor.domains import Domains
from tracepost.doctor.findings import Finding, Level
from tracepost.environment import told
from tracepost.settings import parts

SERVICES = ("sender", "pixel", "bounce-ingest", "status-store")


async def examine(services: Iterable[str]) -> list[Finding]:
    """What the services themselves say of their environment, as it is here."""
    installed = [each for each in services if find_spec(_package(each))]
    if not installed:
        remedy = "run it where the services are: each reads an environment of its own"
        return [Finding("settings", "warning", "no service is installed beside this command", remedy)]
    found = await asyncio.gather(*map(_checked, installed))
    return [each for findings in found for each in findings]


def databases(services: Iterable[str]) -> dict[str, str]:
    """The URL of each service's database, of those that the environment gives one."""
    found = {each: told("database_url", each) for each in services}
    return {service: url for service, url in found.items() if url}


def brokers(services: Iterable[str]) -> set[str]:
    """The URLs by which the services reach RabbitMQ; mostly it is one."""
    found = {told("amqp_url", each) for each in services}
    return {url for url in found if url}


def domains(named: Iterable[str], addresses: Iterable[str] = (), include: str = "") -> list[Domains]:
    """The sending domains, by default those that DKIM keys sign for, with what the sender's environment says of them.

    ValueError or OSError says what of it cannot be read.
    """
    keys = told("dkim_keys", "sender") or ""
    bounce, pixel, hostname = (told(name, "sender") or "" for name in ("bounce_domain", "pixel_url", "hostname"))
    ways: dict[str, Any] = {"addresses": list(addresses), "include": include, "keys": keys}
    wanted = list(named) or dict.fromkeys(each.domain for each in dkim_keys.read(parts(keys)))
    return [read(each, bounce_domain=bounce, pixel_url=pixel, hostname=hostname, **ways) for each in wanted]


def _package(service: str) -> str:
    return service.replace("-", "_")


async def _checked(service: str) -> list[Finding]:
    check = f"settings of {service}"
    argv = (sys.executable, "-m", _package(service), "--check-config")
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    level: Level = "warning" if process.returncode == os.EX_OK else "error"
    remedy = f"mend it in the environment of {service}; `python -m {_package(service)} --print-config` shows all"
    lines = [line for line in said.decode(errors="replace").splitlines() if line]
    return [Finding(check, level, line, remedy) for line in lines] or [Finding(check, "ok", "can be used")]
