"""An nginx of its own: `empty_gif`, which is the least that an answer can cost, or a proxy that caches."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack import binaries
from local_stack.processes import Process, free_port, running, wait_for_port

HOST = "127.0.0.1"
# One process, nothing written, connections that stay open as long as the client likes.
MAIN = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {rest}
}}
"""
EMPTY_GIF = "server {{ listen {host}:{port} backlog=4096; location / {{ empty_gif; }} }}"


def program(folder: Path) -> Path:
    """Of the system if it has one, else unpacked into `folder`: to install the package would start its daemon."""
    if found := shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"):
        return Path(found)
    unpacked = folder / "usr/sbin/nginx"
    if not unpacked.exists():
        shutil.rmtree(folder, ignore_errors=True)
        binaries.unpack("nginx", folder)
    return unpacked


@asynccontextmanager
async def serving(
    nginx: Path, folder: Path, config: str = EMPTY_GIF, before: Sequence[str] = (), **values: object
) -> AsyncIterator[tuple[int, Process]]:
    """Its port and process; `before` is put before the command, `values` into the server's configuration."""
    port = free_port()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rest = config.format(host=HOST, port=port, folder=folder, **values)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, rest=rest))
    libraries = os.pathsep.join(map(str, nginx.parents[2].glob("usr/lib/*-linux-gnu")))
    argv: list[str | Path] = [*before, nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    async with running("nginx", argv, env={"LD_LIBRARY_PATH": libraries}, log=folder / "log") as process:
        await wait_for_port(HOST, port, process, timeout=10)
        yield port, process
