"""A private RabbitMQ node with its management API, on free ports of 127.0.0.1."""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from local_stack import binaries
from local_stack.processes import Process, Server, exclusive, free_port, running, stop_stale, wait_for_port

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Broker:
    amqp_url: str
    management_url: str


class RabbitNode(Server):
    """Its data, name and ports stay the same from one start to the next; the ports are new with each object."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self.folder = folder.resolve()
        self.home = self.folder / "rabbitmq"
        self.amqp_port, self.management_port, self.distribution_port, self.epmd_port = (free_port() for _ in range(4))
        self._say = say

    @property
    def broker(self) -> Broker:
        login = f"guest:guest@{_HOST}"
        return Broker(f"amqp://{login}:{self.amqp_port}/", f"http://{login}:{self.management_port}")

    @property
    def environment(self) -> dict[str, str]:
        """For the node, and for a `rabbitmqctl` that shall find it."""
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),  # of the cookie
            "ERL_EPMD_ADDRESS": _HOST,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_AFLAGS": "-start_epmd false",  # one that Erlang starts outlives everything
            "RABBITMQ_NODENAME": f"tracepost-{name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": _HOST,
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            # These do not exist; they keep those of the system out.
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.home / "conf.d/*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),
            # The script then turns into the node; else it would be the node's parent, and the node would outlive it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Process]:
        began = time.monotonic()
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "plugins").write_text("[rabbitmq_management].\n")
        epmd: list[str | Path] = [binaries.find("epmd"), "-address", _HOST, "-port", str(self.epmd_port)]
        server: list[str | Path] = [binaries.find("rabbitmq-server"), *self._flags()]
        pid_file = self.home / "pid"  # RabbitMQ's own one is gone before the node is
        env = self.environment
        with exclusive(self.folder / "rabbitmq.lock"):
            await asyncio.to_thread(stop_stale, pid_file, str(self.home), SIGTERM)
            async with running("epmd", epmd, env=env, log=self.folder / "epmd.log") as names:
                await wait_for_port(_HOST, self.epmd_port, names, timeout=10)
                async with running("RabbitMQ", server, env=env, log=self.folder / "rabbitmq.log") as node:
                    pid_file.write_text(str(node.pid))
                    await wait_for_port(_HOST, self.amqp_port, node, timeout=60)
                    await wait_for_port(_HOST, self.management_port, node, timeout=10)
                    took = time.monotonic() - began
                    self._say(f"RabbitMQ {_version(node)} on {_HOST}:{self.amqp_port} ({took:.1f} s)")
                    yield node

    def _flags(self) -> list[str]:
        return [
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *("-rabbitmq_management", "tcp_config", f'[{{ip,"{_HOST}"}},{{port,{self.management_port}}}]'),
            # Until rabbitmq-server#11070 each stop waits for the management plugin: this long, and by default 5 s.
            *("-rabbit", "worker_shutdown_timeout", "1000"),
            # Means nothing to Erlang, but shows whose node this is.
            *("-tracepost", str(self.home)),
        ]


@asynccontextmanager
async def rabbitmq(folder: Path, say: Callable[[str], None]) -> AsyncIterator[Broker]:
    node = RabbitNode(folder, say)
    async with node.up():
        yield node.broker


def _version(node: Process) -> str:
    found = re.search(rb"RabbitMQ (\d[\w.]*)", node.log.read_bytes())
    return found[1].decode() if found else ""
