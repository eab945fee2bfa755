"""The command line: `tracepost topology apply`, `tracepost keys new`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from pydantic import ValidationError

from tracepost import keys, rights, topology

app = typer.Typer(no_args_is_help=True, add_completion=False, help="E-mail delivery tracking.")
_topology = typer.Typer(no_args_is_help=True, help="Exchanges, queues and policies on RabbitMQ.")
app.add_typer(_topology, name="topology")

_keys = typer.Typer(no_args_is_help=True, help="Keys of the HTTP APIs.")
app.add_typer(_keys, name="keys")

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


@_topology.command("users")
def users(
    passwords: Annotated[Path, typer.Option(help="folder with a file amqp-password-<user> for each")],
    app: Annotated[list[str] | None, typer.Option(help="an app that publishes; its queues are named <app>.…")] = None,
    management_url: ManagementUrl = "http://guest:guest@127.0.0.1:15672",
    vhost: Annotated[str, typer.Option(help="the virtual host")] = "/",
) -> None:
    """Create a user for each service and app, with the least rights; again: set passwords and rights anew."""
    named = [*rights.SERVICES, *(app or ())]
    try:
        told = {user: (passwords / f"amqp-password-{user}").read_text().strip() for user in named}
        asyncio.run(rights.apply(management_url, told, vhost))
    except (OSError, aiohttp.ClientError) as error:
        typer.echo(f"cannot make the users: {error}; check --passwords and --management-url", err=True)
        sys.exit(69)
    typer.echo(f"{len(told)} users have their rights: {', '.join(told)}")


@_keys.command("new")
def new_key(
    client: Annotated[str, typer.Option(help="who will use it, e.g. helpdesk")],
    app: Annotated[str, typer.Option(help="whose messages it may send and see; * for all")],
    scope: Annotated[list[str], typer.Option(help="send, read, operate or override; give it several times")],
    domain: Annotated[list[str] | None, typer.Option(help="a domain that it may send from; * for all")] = None,
) -> None:
    """Make a key: it is shown once; its client's entry for TRACEPOST_API_KEYS holds only a hash."""
    key = keys.new(client)
    fields = {
        "client": client,
        "app": app,
        "scopes": scope,
        "sender_domains": domain or [],
        "hashes": [keys.hashed(key)],
    }
    try:
        entry = keys.Client.model_validate(fields)
    except ValidationError as error:
        typer.echo("\n".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors()), err=True)
        sys.exit(2)
    typer.echo(f"key: {key}")
    typer.echo(f"entry: {entry.model_dump_json()}")


def main() -> None:
    """The entry point of the `tracepost` command."""
    app()
