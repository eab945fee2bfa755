"""Which servers there are, where their packages are unpacked, and how one is run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, cast

from local_stack.binaries import Missing
from tests.conftest import ROOT, eventually
from tests.mail_servers import exim, machine, net, opensmtpd, postfix
from tests.mail_servers.machine import Machine
from tracepost.runner import background


class Server(Protocol):
    """What a server's module says of it."""

    PACKAGE: str
    VERSION: Sequence[str]
    START: Sequence[str]
    NUDGE: Sequence[str]  # has it look at its queue

    def prepare(self, made: Machine) -> None:
        """Its configuration and its folders."""


SERVERS = cast(Mapping[str, Server], {"postfix": postfix, "exim": exim, "opensmtpd": opensmtpd})


def unpacked(name: str) -> Path:
    """The folder with a server's package; Missing where it cannot be had."""
    package = SERVERS[name].PACKAGE
    return machine.unpacked(package, ROOT / ".local/peers" / package)


def on_each(names: Sequence[str], module: str, *arguments: str) -> int:
    """Run a module of ours on a machine for each of these servers, or for all; returns the exit code.

    Its arguments are those given, and the server's name.
    """
    if unknown := set(names) - set(SERVERS):
        print(f"there is no {', '.join(unknown)}; there are {', '.join(SERVERS)}")  # noqa: T201
        return os.EX_USAGE
    try:
        for name in names or SERVERS:
            unpacked(name)
            if code := machine.enter(module, *arguments, name):
                return code
    except Missing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return os.EX_UNAVAILABLE
    return os.EX_OK


@asynccontextmanager
async def running(made: Machine, server: Server) -> AsyncIterator[None]:
    """It answers; its processes end with the machine, however they are related."""
    log = (ROOT / ".local" / f"{server.PACKAGE}.log").open("wb")
    child = await asyncio.create_subprocess_exec(*made.command(*server.START), stdout=log, stderr=log)

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection(net.SERVER, 25)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(answers)
    try:
        async with background(_nudge(made, server)):
            yield
    finally:
        child.terminate()
        await child.wait()
        log.close()


async def _nudge(made: Machine, server: Server) -> None:
    """Have it look at its queue every second, if it does not by itself."""
    while server.NUDGE:
        await asyncio.to_thread(made.run, *server.NUDGE)
        await asyncio.sleep(1)
