"""A message by its id over HTTP, beside what PostgreSQL itself answers, and a query and a row for each request."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg

from local_stack.binaries import Missing, find, unpack
from local_stack.processes import free_port, running, wait_for_port
from local_stack.stack import Servers, create_database
from tests.bench import fold
from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong, run
from tests.conftest import ROOT
from tracepost import keys

NAME = "query"
FOLDER = ROOT / ".local" / "bench"
STORED = 300_000  # events, three for each message
SECONDS, CONNECTIONS, SESSIONS = 3, 64, 8
KEY = keys.new("bench")
CLIENT = '[{"client": "bench", "app": "*", "scopes": ["read"], "hashes": ["' + keys.hashed(KEY) + '"]}]'

# Each thread of wrk asks for one message after the other, by chance; what is not answered by 200 is an error.
SCRIPT = """
local ids = {}
for line in io.lines("%s") do ids[#ids + 1] = line end
local first, last
init = function()
    math.randomseed(os.time())
    first, last = wrk.format("GET", "/v1/messages/@%s"):match("^(.-)@(.*)$")
end
request = function() return first .. ids[math.random(#ids)] .. last end
done = function(summary, latency)
    local e = summary.errors
    local bad = e.connect + e.read + e.write + e.status + e.timeout
    io.write(string.format("requests=%%d bad=%%d p99=%%d\\n", summary.requests, bad, latency:percentile(99)))
end
"""


async def measure(servers: Servers, pids: dict[str, int]) -> None:
    """Run the bench; without wrk there is none."""
    try:
        wrk = _wrk()
    except Missing as error:
        print(f"{NAME}: not measured, for want of wrk: {error}", flush=True)  # noqa: T201 - to be read
        return
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(fold.database(servers.postgres_url, STORED))
        ids = await _ids(database.url)
        # A path with a query, be it empty, is not plain.
        plain, others = _script("plain", ids), _script("others", ids, "?")
        limit = await _pgbench_database(servers.postgres_url)
        contenders: dict[str, Contender] = {
            "ours": partial(ours, "ours", database, wrk, plain),
            "ours by aiohttp": partial(ours, "ours by aiohttp", database, wrk, others),
            "pgbench -S (limit)": partial(pgbench, limit),
            "a query for each": partial(naive, database.url, wrk, plain),
        }
        ratios = [Ratio("ours", under) for under in ("ours by aiohttp", "a query for each")]
        ratios.append(Ratio("ours", "pgbench -S (limit)", reach=0.3))
        await run(Bench(NAME, "request", contenders, ratios), servers, pids)


def _wrk() -> Path:
    if found := shutil.which("wrk"):
        return Path(found)
    folder = ROOT / ".local" / "peers" / "wrk"
    if not folder.exists():
        unpack("wrk", folder)
    return folder / "usr" / "bin" / "wrk"


async def _ids(url: str) -> Path:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT message_id FROM messages")
    await connection.close()
    FOLDER.mkdir(parents=True, exist_ok=True)
    ids = FOLDER / "ids.txt"
    ids.write_text("\n".join(str(row[0]) for row in rows))
    return ids


def _script(name: str, ids: Path, end: str = "") -> Path:
    script = FOLDER / f"{name}.lua"
    script.write_text(SCRIPT % (ids, end))
    return script


async def _pgbench_database(server: str) -> str:
    await create_database(server, "pgbench")
    await _output(str(find("pgbench")), "--initialize", "--quiet", "--scale=10", f"{server}/pgbench")
    return f"{server}/pgbench"


@asynccontextmanager
async def ours(name: str, database: fold.Database, wrk: Path, script: Path, url: str) -> AsyncIterator[Work]:
    """The service, one process, asked over connections that are kept."""
    async with fold.service(database, url, API_KEYS=CLIENT) as port:
        yield partial(_load, name, wrk, script, port)


@asynccontextmanager
async def naive(database: str, wrk: Path, script: Path, _: str) -> AsyncIterator[Work]:
    """What is done most often, without any of our rules: fetchrow, and json.dumps of the row."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.peers.query", database, str(port)]
    async with running("peer", argv, env=dict(os.environ), log=FOLDER / "peer.log") as process:
        await wait_for_port("127.0.0.1", port, process, 20)
        yield partial(_load, "a query for each", wrk, script, port)


async def _load(name: str, wrk: Path, script: Path, port: int) -> int:
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), "-H", f"Authorization: Bearer {KEY}"]
    told = await _output(str(wrk), *options, f"http://127.0.0.1:{port}")
    found = re.search(r"requests=(\d+) bad=(\d+) p99=(\d+)", told)
    if not found or int(found[2]):
        raise Wrong(f"requests went wrong: {told}")
    print(f"  {name}: p99 {int(found[3]) / 1000:.1f} ms", flush=True)  # noqa: T201 - to be read
    return int(found[1])


@asynccontextmanager
async def pgbench(url: str, _: str) -> AsyncIterator[Work]:
    """One row by its key, over the protocol of PostgreSQL."""

    async def work() -> int:
        options = ["-S", "-M", "prepared", "-n", f"-c{SESSIONS}", "-j1", f"-T{SECONDS}"]
        told = await _output(str(find("pgbench")), *options, url)
        return int(re.findall(r"transactions actually processed: (\d+)", told)[0])

    yield work


async def _output(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise Wrong(f"{argv[0]} failed: {told.decode()}")
    return told.decode()
