"""The private servers: they come up, keep their data, and leave nothing behind, however they end."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aio_pika
import aiohttp
import asyncpg
import pytest

from local_stack import binaries
from local_stack.postgres import PostgresServer, postgres
from local_stack.processes import Failed, Server, free_port, stop_stale
from local_stack.rabbitmq import Broker, RabbitNode, rabbitmq

STACK = """
import asyncio, sys
from pathlib import Path
from local_stack.postgres import postgres
from local_stack.rabbitmq import rabbitmq

async def main():
    async with postgres(Path(sys.argv[1]), print), rabbitmq(Path(sys.argv[1]), print):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
SYSTEM_PYTHON = Path("/usr/bin/python3")
SLEEPER = "print('ready', flush=True); input()"


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    binaries.ensure(print)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: nobody else may enter that, and when we are root PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="tracepost ") as parent:
        Path(parent).chmod(0o755)
        yield Path(parent, "the stack")


@pytest.mark.long
async def test_data_outlives_a_stop_and_a_crash(folder: Path) -> None:
    # RabbitMQ writes the definition of a new queue to disk a moment after it has confirmed it, so the stop comes first.
    async with rabbitmq(folder, print) as broker, postgres(folder, print) as url:
        await publish(broker, b"kept")
        await query(url, "create table things as select 'kept' as name")
    assert processes_of(folder) == []

    node, server = RabbitNode(folder, print), PostgresServer(folder, print)
    async with started(node), started(server):
        assert await management_answers(node.broker)
        assert await get(node.broker) == b"kept"
        assert await query(server.url, "update things set name = 'committed' where name = 'kept' returning 1") == 1
        await publish(node.broker, b"confirmed")
        await asyncio.gather(node.kill(), server.kill())
        await until(lambda: processes_of(folder) == [], 10)

        await asyncio.gather(node.start(), server.start())
        assert await get(node.broker) == b"confirmed"
        assert await query(server.url, "select name from things") == "committed"
    assert processes_of(folder) == []


async def test_a_kill_of_the_stack_leaves_nothing_running_and_does_not_prevent_the_next_start(folder: Path) -> None:
    with in_another_process(STACK, folder) as stack:
        await until(lambda: any("beam" in command for command in processes_of(folder)), 20)
        stack.kill()
    with in_another_process(STACK, folder) as stack:
        assert await asyncio.to_thread(said, stack, "ready")
        stack.kill()
    await until(lambda: processes_of(folder) == [], 20)


async def test_a_folder_serves_one_stack_at_a_time(folder: Path) -> None:
    async with postgres(folder, print):
        with pytest.raises(Failed, match="Another stack runs in"):
            await PostgresServer(folder, print).start()


async def test_a_failed_start_shows_the_servers_last_words(folder: Path) -> None:
    server = PostgresServer(folder, print)
    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(Failed, match=r"(?s)PostgreSQL ended.*postgres\.log.*could not bind"),
    ):
        await server.start()
    assert processes_of(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL then runs as ourselves")
async def test_the_data_goes_elsewhere_when_its_owner_may_not_enter_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = folder.parent / "open"
    open_to_all.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(open_to_all))
    folder.mkdir(mode=0o700)
    async with postgres(folder, print) as url:
        assert await query(url, "select 1") == 1
    (data,) = open_to_all.iterdir()
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_stale_process_is_stopped_only_if_it_names_our_folder(folder: Path) -> None:
    folder.mkdir()
    pid_file = folder / "pid"
    with in_another_process(SLEEPER, folder) as process:
        assert said(process, "ready")
        pid_file.write_text(f"{process.pid}\n")
        stop_stale(pid_file, str(folder.parent), signal.SIGTERM)
        assert process.poll() is None
        pid_file.write_text(f"{process.pid}\n")
        stop_stale(pid_file, str(folder), signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def test_a_port_is_given_out_once() -> None:
    ports = [free_port() for _ in range(100)]
    assert len(set(ports)) == 100


def test_what_cannot_be_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(binaries._PACKAGES, "no-such-program", "no-such-package")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(binaries.Missing, match=r"(?s)apt-get install .*no-such-package.*TRACEPOST_POSTGRES_URL"):
        binaries.ensure(print)


def test_a_package_that_cannot_be_had_leaves_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "apt-get").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(binaries.Missing, match="apt-get"):
        binaries.unpack("postfix", folder / "postfix")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(binaries.Missing, match="no apt-get here"):
        binaries.unpack("postfix", folder / "postfix")
    assert os.listdir(folder) == ["apt-get"]


@pytest.mark.long
async def test_two_stacks_run_beside_busy_standard_ports(folder: Path) -> None:
    with listening(4369, 5432, 5672, 15672, 25672):
        async with (
            postgres(folder / "one", print) as first,
            postgres(folder / "two", print) as second,
            rabbitmq(folder / "one", print) as broker,
            rabbitmq(folder / "two", print) as other,
        ):
            assert await query(first, "select 1") == await query(second, "select 1") == 1
            await publish(broker, b"mine")
            await publish(other, b"theirs")
            assert (await get(broker), await get(other)) == (b"mine", b"theirs")


@contextmanager
def listening(*ports: int) -> Iterator[None]:
    """Somebody listens on each of these ports: we, where nobody does yet."""
    with ExitStack() as stack:
        for port in ports:
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="needs a Python that every user may run")
def test_an_ordinary_user_can_run_it_too(folder: Path) -> None:
    folder.mkdir()
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    environment = {"PYTHONPATH": str(Path(binaries.__file__).parent.parent), "PATH": os.environ["PATH"]}
    command = [str(SYSTEM_PYTHON), "-B", "-c", STACK, str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, user=user.pw_uid, group=user.pw_gid, cwd="/"
    )
    with process:
        assert process.stdout is not None
        printed = "".join(iter(process.stdout.readline, "ready\n"))
        assert "RabbitMQ" in printed
        assert "PostgreSQL" in printed
        process.terminate()


async def publish(broker: Broker, body: bytes) -> None:
    async with await aio_pika.connect(broker.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue("things", durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)


async def get(broker: Broker) -> bytes:
    async with await aio_pika.connect(broker.amqp_url) as connection:
        queue = await (await connection.channel()).get_queue("things")
        return (await queue.get(no_ack=True)).body


async def management_answers(broker: Broker) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{broker.management_url}/api/overview") as overview:
        return overview.ok


async def query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(f"{url}/postgres")
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@asynccontextmanager
async def started(server: Server) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop()


@contextmanager
def in_another_process(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], line: str) -> bool:
    assert process.stdout
    return any(heard.rstrip() == line for heard in process.stdout)


async def until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes but our own kind that have to do with `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = process.joinpath("cmdline").read_bytes()
            words = [command, process.joinpath("environ").read_bytes(), os.fsencode(process.joinpath("cwd").readlink())]
            if any(os.fsencode(folder) in word for word in words) and STACK.encode() not in command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
