"""A private PostgreSQL cluster on a free port of 127.0.0.1."""

import asyncio
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGQUIT

from local_stack import binaries
from local_stack.processes import Failed, Process, Server, exclusive, free_port, running, stop_stale, wait_until

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # the path of a socket may have 107 bytes at most
    "max_connections": "200",
    "shared_buffers": "128MB",
}


class PostgresServer(Server):
    """Its data and port stay the same from one start to the next; the port is new with each object."""

    # The next start then recovers as after a crash. SIGKILL would leave backends behind, and those delay that start.
    kill_signal = SIGQUIT

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self.folder = folder.resolve()
        self.port = free_port()
        self._say = say

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}"

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Process]:
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / "postgres.lock"):
            version = _version()
            home = _home(self.folder)
            data = home / version.split(".")[0]  # another major version could not read it
            if not data.exists():
                await self._create(data)
            await asyncio.to_thread(stop_stale, data / "postmaster.pid", str(data), SIGINT)
            settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": self.port}.items()]
            async with self._running("PostgreSQL", "postgres", data, *settings) as server:
                await wait_until(partial(_ready, data, server), server, timeout=60)
                self._say(f"PostgreSQL {version} on 127.0.0.1:{self.port} ({time.monotonic() - began:.1f} s)")
                yield server

    async def _create(self, data: Path) -> None:
        unfinished = data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]
        async with self._running("initdb", "initdb", unfinished, *options) as initdb:
            if await initdb.wait() != 0:
                raise initdb.failure("failed")
        unfinished.rename(data)

    def _running(self, name: str, program: str, data: Path, *options: str) -> AbstractAsyncContextManager[Process]:
        owner = _owner()
        return running(
            name,
            [binaries.find(program), "-D", data, *options],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            log=self.folder / f"{program}.log",
            stop_signal=SIGINT,  # SIGTERM would wait for the clients to leave
            user=owner.pw_uid if owner else None,
            cwd=data.parent,
        )


@asynccontextmanager
async def postgres(folder: Path, say: Callable[[str], None]) -> AsyncIterator[str]:
    server = PostgresServer(folder, say)
    async with server.up():
        yield server.url


def _owner() -> pwd.struct_passwd | None:
    """Whom the data belongs to, where that is not us: PostgreSQL refuses to run as root."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def _home(folder: Path) -> Path:
    """A folder for the data that only its owner may enter."""
    owner = _owner()
    home = folder / "postgres"
    if owner and not all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents)):
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        home = Path(tempfile.gettempdir()).resolve() / f"tracepost-{name}"
    home.mkdir(mode=0o700, exist_ok=True)
    uid = owner.pw_uid if owner else os.geteuid()
    # In a folder for everybody, somebody else may have made one of this name.
    if home.is_symlink() or home.stat().st_uid not in (uid, os.geteuid()):
        raise Failed(f"{home} belongs to another user: remove it")
    if owner:
        os.chown(home, uid, owner.pw_gid)
    return home


async def _ready(data: Path, server: Process) -> bool:
    """Told by the server's own file: its port answers before it has recovered."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(server.pid) and lines[7:] != [] and lines[7].strip() == "ready"


def _version() -> str:
    answer = subprocess.run([binaries.find("postgres"), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d[\w.]*", answer.stdout)
    return found[0] if found else ""
