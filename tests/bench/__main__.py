"""`python -m tests.bench [NAME]`: run the benches whose name matches, on private servers; exits 1 at a wrong result."""

from __future__ import annotations

import asyncio
import os
import sys
from fnmatch import fnmatch

from local_stack.rabbitmq import RabbitNode
from local_stack.stack import Servers
from tests.bench import consume, publish
from tests.bench.harness import Wrong, run
from tests.conftest import ROOT

BENCHES = (publish.LOAD, publish.ONE, consume.BENCH)


async def main(pattern: str) -> int:
    """Start the servers and run; returns the exit code."""
    chosen = [bench for bench in BENCHES if fnmatch(bench.name, pattern)]
    if not chosen:
        print(f"no bench is named {pattern}; there are {', '.join(bench.name for bench in BENCHES)}")  # noqa: T201
        return os.EX_USAGE
    node = RabbitNode(ROOT / ".local" / "bench", print)
    async with node.up() as process:
        for bench in chosen:
            try:
                await run(bench, Servers(node.broker, ""), {"Python": os.getpid(), "RabbitMQ": process.pid})
            except Wrong as error:
                print(f"WRONG: {error}")  # noqa: T201 - it is what was asked for
                return 1
    return os.EX_OK


sys.exit(asyncio.run(main((sys.argv[1:] or ["*"])[0] or "*")))
