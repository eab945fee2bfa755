"""A Haraka of its own, as npm has it, that relays everything it is given from its queue on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack.binaries import Missing
from local_stack.processes import Process, free_port, running, wait_for_port
from tests.bench.peers.smtp import HOST

PROGRAM = "node_modules/Haraka/bin/haraka"

# `haraka --install` writes what is not named here. One process, as shipped.
FILES = {
    "config/me": "haraka.test\n",
    "config/smtp.ini": "listen={host}:{port}\n",
    "config/log.ini": "[main]\nlevel=warn\n",
    "config/outbound.ini": "enable_tls=false\n",
    "config/plugins": "relay_to_the_sink\n",
    # Who relays has its mail put into the outbound queue; where that goes is for get_mx to say.
    "plugins/relay_to_the_sink.js": """\
exports.hook_connect = (next, connection) => {{ connection.relaying = true; next() }}
exports.hook_get_mx = (next, hmail, domain) => next(OK, {{ priority: 0, exchange: '{host}', port: {to} }})
""",
}


@asynccontextmanager
async def relaying(installed: Path, folder: Path, to: int) -> AsyncIterator[tuple[int, Process]]:
    """Its port and process; Missing where it cannot be had."""
    program = _program(installed)
    port = free_port()
    shutil.rmtree(folder, ignore_errors=True)
    _run(["node", program, "--install", folder])
    for name, text in FILES.items():
        (folder / name).write_text(text.format(host=HOST, port=port, to=to))
    argv: list[str | Path] = ["node", program, "--configs", folder]
    async with running("Haraka", argv, env=os.environ, log=folder / "log") as process:
        await wait_for_port(HOST, port, process, timeout=20)
        yield port, process


def _program(installed: Path) -> Path:
    if (program := installed / PROGRAM).exists():
        return program
    unfinished = installed.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    # Its optional plugins are for what comes in from strangers.
    _run(["npm", "install", "--prefix", unfinished, "--no-audit", "--no-fund", "--omit=optional", "Haraka"])
    unfinished.rename(installed)
    return program


def _run(argv: list[str | Path]) -> None:
    if shutil.which(argv[0]) is None:
        raise Missing(f"Haraka needs {argv[0]}, which is not here")
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-5:])
        raise Missing(f"{' '.join(map(str, argv[:3]))} … failed:\n{last}")
