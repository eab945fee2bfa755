"""`python -m local_stack demo | up | simulator | pictures`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from local_stack.binaries import Missing
from local_stack.demo import demo as run_demo
from local_stack.processes import Failed
from local_stack.simulator import World, simulating
from local_stack.stack import HOST, running_stack

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Tracepost on one machine.", pretty_exceptions_enable=False
)
Folder = Annotated[Path, typer.Option(help="where data and logs are kept")]
DEFAULT_FOLDER = Path(".local/stack")
STOPPED = 130  # as a shell tells of Ctrl-C


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="stop when every status is reached: exit 0, or 1 if one is not")] = False,
    folder: Folder = DEFAULT_FOLDER,
    deadline: Annotated[float, typer.Option(help="seconds until all must be reached")] = 45.0,
) -> None:
    """Start everything, send a message of each kind and show what becomes of it."""

    async def run(console: Console) -> int:
        async with running_stack(folder, console.print) as stack:
            return await run_demo(stack, console, once=once, deadline=deadline)

    sys.exit(_run(run))


@app.command()
def up(folder: Folder = DEFAULT_FOLDER) -> None:
    """Start everything and keep it running."""

    async def run(console: Console) -> int:
        async with running_stack(folder, console.print) as stack:
            for name, url in stack.addresses.items():
                console.print(f"{name:<22}{url}", markup=False, soft_wrap=True)
            await asyncio.Event().wait()
        return 0

    sys.exit(_run(run))


@app.command()
def pictures(
    to: Annotated[Path, typer.Option(help="where they are written")] = Path("docs/pictures"),
    folder: Folder = Path(".local/pictures"),
) -> None:
    """Start everything, send the tickets of a support team and take pictures of the console."""

    from local_stack.pictures import take  # with it comes Playwright, which nothing else here needs

    async def run(console: Console) -> int:
        shutil.rmtree(folder, ignore_errors=True)
        async with running_stack(folder, console.print) as stack:
            await take(stack, to, console.print)
        return 0

    sys.exit(_run(run))


@app.command()
def simulator(
    port: Annotated[int, typer.Option(help="where it takes mail")] = 2525,
    returns_to: Annotated[str, typer.Option(help="host:port that takes returned mail")] = "127.0.0.1:8125",
    http_port: Annotated[int, typer.Option(help="where GET /mailbox tells what it took")] = 8025,
) -> None:
    """Play the recipients' side."""
    host, _, return_port = returns_to.rpartition(":")

    async def run(console: Console) -> int:
        async with simulating(HOST, port, World(host, int(return_port)), http_port):
            await asyncio.Event().wait()
        return 0

    sys.exit(_run(run))


def _run(work: Callable[[Console], Coroutine[Any, Any, int]]) -> int:
    console = Console()
    try:
        return asyncio.run(_until_stopped(work(console)))
    except (Missing, Failed) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1


async def _until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run the work; a signal, or the end of our parent, stops it in order."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    orphaned = asyncio.create_task(_until_orphaned())
    orphaned.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        return STOPPED
    finally:
        orphaned.cancel()


async def _until_orphaned() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    app()
