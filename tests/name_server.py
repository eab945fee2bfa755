"""Debian's Knot on loopback, a name server with zones of the tests' own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack import binaries
from local_stack.processes import free_port, running, wait_until
from tests.conftest import ROOT

HOST = "127.0.0.1"
KNOT = ROOT / ".local" / "peers" / "knot"

CONFIGURATION = """\
server:
    rundir: {folder}
    listen: {host}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: {folder}
zone:
"""
ZONE = """\
  - domain: {name}
    file: {folder}/{name}zone
    journal-content: none
"""


# What makes a zone of the root, in which any name may stand: {"": ROOT_ZONE + …}.
ROOT_ZONE = """\
$ORIGIN .
$TTL 60
@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60
@ NS ns.test.
ns.test. A 127.0.0.1
"""


@asynccontextmanager
async def serving(folder: Path, zones: Mapping[str, str | None]) -> AsyncIterator[int]:
    """The port of a server with these zones, one without records being in trouble; Missing where it cannot be had."""
    if not KNOT.exists():
        binaries.unpack("knot", KNOT)
    port = free_port()
    for name, records in zones.items():
        if records is not None:
            (folder / f"{name}.zone").write_text(records)
    told = "".join(ZONE.format(name=f"{name}.", folder=folder) for name in zones)
    (folder / "knot.conf").write_text(CONFIGURATION.format(folder=folder, host=HOST, port=port) + told)
    libraries = os.pathsep.join(map(str, KNOT.glob("usr/lib/*-linux-gnu")))
    argv: list[str | Path] = [KNOT / "usr/sbin/knotd", "-c", folder / "knot.conf"]
    async with running("knotd", argv, env={"LD_LIBRARY_PATH": libraries}, log=folder / "knotd.log") as process:

        async def loaded() -> bool:
            return "server started" in process.tail()

        await wait_until(loaded, process, 20)
        yield port
