"""aiosmtpd with a handler that does nothing: `python -m tests.bench.peers.aiosmtpd PORT`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from aiosmtpd.smtp import SMTP

from local_stack.processes import Process, free_port, running, wait_until
from local_stack.stack import HOST
from tests.conftest import ROOT


class Handler:
    """Takes all."""

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """At once."""
        return "250 2.0.0 OK"


async def serve(port: int) -> None:
    """For ever; others may listen there too."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname=HOST, loop=loop), HOST, port, reuse_port=True)
    await server.serve_forever()


@asynccontextmanager
async def bare(count: int = 1) -> AsyncIterator[tuple[list[Process], int]]:
    """So many as processes of their own, and the port that they share."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.peers.aiosmtpd", str(port)]
    async with AsyncExitStack() as started:
        processes: list[Process] = []
        for number in range(1, count + 1):
            log = ROOT / ".local" / "bench" / f"aiosmtpd.{number}.log"
            process = running("aiosmtpd", argv, env={"PYTHONPATH": str(ROOT)}, log=log)
            processes.append(await started.enter_async_context(process))
            await wait_until(partial(_are_listening, port, number), processes[-1], 30)
        yield processes, port


async def _are_listening(port: int, count: int) -> bool:
    listening = f":{port:04X} 00000000:0000 0A"  # see proc_net_tcp in the kernel's documents
    return Path("/proc/net/tcp").read_text().count(listening) == count


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
