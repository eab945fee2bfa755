"""Postfix's own tools: `smtp-source`, which makes load, and `smtp-sink`, which takes mail, counts it and drops it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from local_stack import binaries
from local_stack.processes import Process, free_port, running, wait_for_port

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Tools:
    """Where Debian's Postfix is: the system's root, or a folder into which its package was unpacked."""

    root: Path

    @property
    def daemons(self) -> Path:
        """The folder of `master` and all that it starts."""
        return self.root / "usr/lib/postfix/sbin"

    @property
    def commands(self) -> Path:
        """The folder of what people start."""
        return self.root / "usr/sbin"

    @property
    def environment(self) -> Mapping[str, str]:
        """With which the programs find their libraries."""
        libraries = [self.root / "usr/lib/postfix", *self.root.glob("usr/lib/*-linux-gnu")]
        return {"PATH": os.environ.get("PATH", os.defpath), "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def tools(folder: Path) -> Tools:
    """Of the system if it has them, else unpacked into `folder`: to install the package would start its daemon."""
    for root in (Path("/"), folder):
        if all((root / "usr/sbin" / name).exists() for name in ("smtp-sink", "smtp-source")):
            return Tools(root)
    shutil.rmtree(folder, ignore_errors=True)
    binaries.unpack("postfix", folder)
    return Tools(folder)


@dataclass(frozen=True)
class Load:
    """What smtp-source sends, and over how many sessions at once."""

    messages: int
    sessions: int


@dataclass(frozen=True)
class Sink:
    """A running smtp-sink."""

    port: int
    process: Process

    def taken(self) -> int:
        """How many messages it has taken since its start."""
        with self.process.log.open("rb") as log:
            log.seek(max(0, self.process.log.stat().st_size - 200))
            counts = re.findall(rb"mesg=(\d+)\r", log.read())
        return int(counts[-1]) if counts else 0

    async def until(self, total: int) -> None:
        """Wait until it has taken so many since its start."""
        while self.taken() < total:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sinking(where: Tools, log: Path) -> AsyncIterator[Sink]:
    """A sink on a port of its own."""
    port = free_port()
    argv: list[str | Path] = [where.commands / "smtp-sink", "-c", *_as_nobody(), f"{HOST}:{port}", "1024"]
    async with running("smtp-sink", argv, env=where.environment, log=log) as process:
        await wait_for_port(HOST, port, process, timeout=10)
        yield Sink(port, process)


def _as_nobody() -> list[str]:
    return ["-u", "nobody"] if os.geteuid() == 0 else []  # as root it starts with this only


@asynccontextmanager
async def sending(where: Tools, mail: Path, load: Load, port: int, log: Path) -> AsyncIterator[Process]:
    """Send a mail so many times, each to an address of its own, over sessions that stay open."""
    options = ["-d", "-N", "-s", str(load.sessions), "-m", str(load.messages), "-F", str(mail)]
    envelope = ["-f", "support@example.com", "-t", "ann@example.org"]
    argv: list[str | Path] = [where.commands / "smtp-source", *options, *envelope, f"{HOST}:{port}"]
    async with running("smtp-source", argv, env=where.environment, log=log) as process:
        yield process
