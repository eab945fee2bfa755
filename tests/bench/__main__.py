"""`python -m tests.bench [NAME]`: run the benches whose name matches, on private servers; exits 1 at a wrong result."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Set as AbstractSet
from fnmatch import fnmatch

from local_stack.postgres import PostgresServer
from local_stack.rabbitmq import RabbitNode
from local_stack.stack import Servers
from tests.bench import compose, consume, fold, ingest, outage, parse, pixel, publish, query, send, sign
from tests.bench.harness import Wrong, run
from tests.conftest import ROOT

BROKER = (publish.LOAD, publish.ONE, consume.BENCH)
ALONE = (compose.BENCH, parse.BENCH, sign.BENCH)  # without servers
STORED = (1_000_000, 5_000_000)  # events in the databases over which the fold is measured


async def main(pattern: str) -> int:
    """Run what is chosen; returns the exit code."""
    names = [bench.name for bench in (*ALONE, *BROKER)]
    names += [fold.NAME, ingest.NAME, outage.NAME, query.NAME, send.NAME, *pixel.NAMES]
    if not (chosen := {name for name in names if fnmatch(name, pattern)}):
        print(f"no bench is named {pattern}; there are {', '.join(names)}")  # noqa: T201
        return os.EX_USAGE
    try:
        for bench in ALONE:
            if bench.name in chosen:
                await run(bench, None, {"Python": os.getpid()})
        if outage.NAME in chosen:
            await outage.measure()
        if chosen - {outage.NAME, *(bench.name for bench in ALONE)}:
            await with_servers(chosen)
    except Wrong as error:
        print(f"WRONG: {error}")  # noqa: T201 - it is what was asked for
        return 1
    return os.EX_OK


async def with_servers(chosen: AbstractSet[str]) -> None:
    """Start the servers and run."""
    folder = ROOT / ".local" / "bench"
    node, database = RabbitNode(folder, print), PostgresServer(folder, print)
    async with node.up() as rabbit, database.up() as postgres:
        pids = {"Python": os.getpid(), "RabbitMQ": rabbit.pid, "PostgreSQL": postgres.pid}
        servers = Servers(node.broker, database.url)
        for bench in BROKER:
            if bench.name in chosen:
                await run(bench, servers, pids)
        if fold.NAME in chosen:
            async with fold.over(database.url, STORED) as bench:
                await run(bench, servers, pids)
        if query.NAME in chosen:
            await query.measure(servers, pids)
        if send.NAME in chosen:
            await send.measure(servers, {"RabbitMQ": rabbit.pid, "PostgreSQL": postgres.pid})
        if ingest.NAME in chosen:
            await ingest.measure(servers, {"RabbitMQ": rabbit.pid, "PostgreSQL": postgres.pid})
        for name in pixel.NAMES:
            if name in chosen:
                await pixel.measure(servers, rabbit.pid, name)


sys.exit(asyncio.run(main((sys.argv[1:] or ["*"])[0] or "*")))
