"""Debian's NSD on loopback, with zones of the tests' own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack import binaries
from local_stack.processes import free_port, running, wait_for_port
from tests.conftest import ROOT

HOST = "127.0.0.1"
NSD = ROOT / ".local" / "peers" / "nsd"

CONFIGURATION = """
server:
  ip-address: {host}@{port}
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  pidfile: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zones.list"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
remote-control:
  control-enable: no
"""
ZONE = 'zone:\n  name: "{name}"\n  zonefile: "{name}.zone"\n'


@asynccontextmanager
async def serving(folder: Path, zones: Mapping[str, str | None]) -> AsyncIterator[int]:
    """The port of a server with these zones, one without records being in trouble; Missing where it cannot be had."""
    if not NSD.exists():
        binaries.unpack("nsd", NSD)
    port = free_port()
    for name, records in zones.items():
        if records is not None:
            (folder / f"{name}.zone").write_text(records)
    configuration = CONFIGURATION.format(host=HOST, port=port, folder=folder)
    (folder / "nsd.conf").write_text(configuration + "".join(ZONE.format(name=name) for name in zones))
    libraries = [NSD / "usr/lib", *NSD.glob("usr/lib/*-linux-gnu")]
    environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}
    argv: list[str | Path] = [NSD / "usr/sbin/nsd", "-d", "-c", folder / "nsd.conf"]
    async with running("nsd", argv, env=environment, log=folder / "nsd.log") as process:
        await wait_for_port(HOST, port, process, 20)
        yield port
