"""A service alone: any number of its processes on one virtual host and one database, to be killed and started again."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import aiohttp

from local_stack.processes import Process, free_port, running
from local_stack.stack import HOST, SERVICES
from tests.conftest import eventually

READY_SECONDS = 30.0


@dataclass
class Alone:
    """The processes of a service, by number."""

    service: str
    folder: Path
    environment: dict[str, str]
    started: AsyncExitStack
    starts: int = 0
    ports: dict[int, tuple[int, int]] = field(default_factory=dict)  # admin, API
    processes: dict[int, Process] = field(default_factory=dict)

    async def start(self, number: int = 0) -> None:
        """Start one, with ports of its own."""
        self.starts += 1
        admin, api = self.ports.setdefault(number, (free_port(), free_port()))
        ports = {"TRACEPOST_ADMIN_PORT": str(admin), "TRACEPOST_API_PORT": str(api)}
        log = self.folder / f"{self.service}.{number}.{self.starts}.log"
        argv = [sys.executable, "-m", SERVICES[self.service][0]]
        process = running(f"{self.service} {number}", argv, env=self.environment | ports, log=log, stop_timeout=30)
        self.processes[number] = await self.started.enter_async_context(process)

    async def kill(self, number: int = 0) -> None:
        """End one as a crash would."""
        os.kill(self.processes[number].pid, SIGKILL)
        assert await self.processes[number].wait() == -SIGKILL

    async def stop(self) -> None:
        """Let all finish what they have in hand."""
        for process in self.processes.values():
            os.kill(process.pid, SIGTERM)
        codes = {number: await process.wait() for number, process in self.processes.items()}
        assert not any(codes.values()), f"exit codes {codes}"
        self.processes.clear()

    def api(self, number: int = 0) -> str:
        """The query API of one."""
        return f"http://{HOST}:{self.ports[number][1]}/v1"

    async def faults(self, number: int = 0) -> dict[str, str]:
        """Which checks say what is wrong, by their names; none: it is ready, and its status code says the same."""
        process = self.processes[number]
        if process.child.returncode is not None:
            raise process.failure(f"ended with exit code {process.child.returncode}")
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"http://{HOST}:{self.ports[number][0]}/readyz") as response,
            ):
                checks: dict[str, Any] = await response.json()
        except aiohttp.ClientError as error:
            return {"admin port": repr(error)}
        faults = {name: said for name, said in checks.items() if said != "ok"}
        assert response.status == (503 if faults or not checks else 200)
        return faults if checks else {"checks": "none yet"}

    async def until_ready(self, within: float = READY_SECONDS) -> None:
        """Wait until all are ready."""
        for number in self.processes:
            await eventually(partial(self._is_ready, number), within)

    async def _is_ready(self, number: int) -> bool:
        faults = await self.faults(number)
        assert not faults, f"{self.service} {number}: {faults}"
        return True

    async def until_unready(self, check: str, words: str, number: int = 0, within: float = 20) -> str:
        """Wait until this check says these words."""

        async def says_so() -> str:
            faults = await self.faults(number)
            assert words in faults.get(check, "ok"), f"{self.service} {number} says {faults}"
            return faults[check]

        return await eventually(says_so, within)

    async def metric(self, name: str, number: int = 0) -> float:
        """The sum of a metric's samples."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{HOST}:{self.ports[number][0]}/metrics") as response,
        ):
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[{{ ]", line))


@asynccontextmanager
async def alone(service: str, folder: Path, amqp_url: str, database_url: str, **settings: str) -> AsyncIterator[Alone]:
    """None at first; what runs at the end is stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "TRACEPOST_AMQP_URL": amqp_url,
        "TRACEPOST_DATABASE_URL": database_url,
        "TRACEPOST_TOKEN_KEYS": f"1:{base64.b64encode(bytes(32)).decode()}",
    } | {f"TRACEPOST_{name.upper()}": value for name, value in settings.items()}
    async with AsyncExitStack() as started:
        yield Alone(service, folder, environment, started)
