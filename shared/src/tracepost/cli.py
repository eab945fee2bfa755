"""The command line: `tracepost topology apply`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import aiohttp
import typer

from tracepost import topology

app = typer.Typer(no_args_is_help=True, add_completion=False, help="E-mail delivery tracking.")
_topology = typer.Typer(no_args_is_help=True, help="Exchanges, queues and policies on RabbitMQ.")
app.add_typer(_topology, name="topology")

ManagementUrl = Annotated[
    str, typer.Option(envvar="TRACEPOST_AMQP_MANAGEMENT_URL", help="RabbitMQ's management API, with user and password")
]


@_topology.command("apply")
def apply(
    management_url: ManagementUrl = "http://guest:guest@127.0.0.1:15672",
    vhost: Annotated[str, typer.Option(help="the virtual host")] = "/",
) -> None:
    """Create what is missing; running it again changes nothing."""
    try:
        asyncio.run(topology.apply(management_url, vhost))
    except (OSError, aiohttp.ClientError) as error:
        typer.echo(f"cannot apply the topology: {error}; check --management-url, and that the plugin is on", err=True)
        sys.exit(69)
    typer.echo(f"{len(topology.EXCHANGES)} exchanges and {len(topology.QUEUES)} queues are in place")


@_topology.command("show")
def show() -> None:
    """Print the topology as a RabbitMQ definition file."""
    typer.echo(topology.as_json())


def main() -> None:
    """The entry point of the `tracepost` command."""
    app()
