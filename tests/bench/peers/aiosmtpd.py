"""aiosmtpd with a handler that does nothing: `python -m tests.bench.peers.aiosmtpd PORT`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiosmtpd.smtp import SMTP

from local_stack.processes import Process, free_port, running, wait_for_port
from local_stack.stack import HOST
from tests.conftest import ROOT


class Handler:
    """Takes all."""

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """At once."""
        return "250 2.0.0 OK"


async def serve(port: int) -> None:
    """For ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname=HOST, loop=loop), HOST, port)
    await server.serve_forever()


@asynccontextmanager
async def bare() -> AsyncIterator[tuple[Process, int]]:
    """It as a process of its own, and its port."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.peers.aiosmtpd", str(port)]
    log = ROOT / ".local" / "bench" / "aiosmtpd.log"
    async with running("aiosmtpd", argv, env={"PYTHONPATH": str(ROOT)}, log=log) as process:
        await wait_for_port(HOST, port, process, 30)
        yield process, port


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
