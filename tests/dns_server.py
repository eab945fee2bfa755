"""A real DNS server, Debian's Knot, with a zone of a test's own: of the root, so that it may hold any name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack import binaries
from local_stack.processes import free_port, running, wait_until
from tests.conftest import ROOT

HOST = "127.0.0.1"
KNOT = ROOT / ".local/peers/knot"

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
  - domain: .
    file: {folder}/zone
    journal-content: none
"""
AUTHORITY = """\
$ORIGIN .
$TTL 60
@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60
@ NS ns.test.
ns.test. A 127.0.0.1
"""


@asynccontextmanager
async def dns_server(zone: str) -> AsyncIterator[tuple[str, int]]:
    """Host and port of a server with these lines of a zone file; binaries.Missing where it cannot be had."""
    if not KNOT.exists():
        binaries.unpack("knot", KNOT)
    port = free_port()
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        (folder / "zone").write_text(AUTHORITY + zone)
        (folder / "knot.conf").write_text(CONFIGURATION.format(folder=folder, host=HOST, port=port))
        libraries = os.pathsep.join(map(str, KNOT.glob("usr/lib/*-linux-gnu")))
        argv: list[str | Path] = [KNOT / "usr/sbin/knotd", "-c", folder / "knot.conf"]
        async with running("knotd", argv, env={"LD_LIBRARY_PATH": libraries}, log=folder / "log") as process:

            async def loaded() -> bool:
                return "server started" in process.tail()

            await wait_until(loaded, process, timeout=10)
            yield HOST, port
