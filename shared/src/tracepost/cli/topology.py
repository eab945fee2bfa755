"""`tracepost topology`: the exchanges, queues, bindings, policies and users on RabbitMQ."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tracepost.cli.ending import ISSUE, finished
from tracepost.cli.options import Json
from tracepost.cli.telling import say, tell

app = typer.Typer(no_args_is_help=True, help="Exchanges, queues, policies, users: apply, check, show.")

ManagementUrl = Annotated[
    str, typer.Option(envvar="TRACEPOST_AMQP_MANAGEMENT_URL", help="RabbitMQ's management API, with user and password")
]
Vhost = Annotated[str, typer.Option(help="the virtual host")]
LOCAL = "http://guest:guest@127.0.0.1:15672"


@app.command("apply")
def put(management_url: ManagementUrl = LOCAL, vhost: Vhost = "/", as_json: Json = False) -> None:
    """Create what is missing; running it again changes nothing."""
    from tracepost import topology
    from tracepost.doctor.broker import managed

    finished(managed(topology.apply(management_url, vhost), management_url), as_json)
    told = {"exchanges": len(topology.EXCHANGES), "queues": len(topology.QUEUES)}
    tell(told, as_json, lambda told: say(f"{told['exchanges']} exchanges and {told['queues']} queues are in place"))


@app.command()
def users(
    passwords: Annotated[Path, typer.Option(help="folder with a file amqp-password-<user> for each")],
    of_app: Annotated[list[str] | None, typer.Option("--app", help="an app that publishes")] = None,
    management_url: ManagementUrl = LOCAL,
    vhost: Vhost = "/",
    as_json: Json = False,
) -> None:
    """Create a user for each service and app, with the least rights; again: set passwords and rights anew."""
    from tracepost import rights
    from tracepost.doctor.broker import managed

    names = [*rights.SERVICES, *(of_app or ())]

    async def apply() -> None:
        told = {user: (passwords / f"amqp-password-{user}").read_text().strip() for user in names}
        await managed(rights.apply(management_url, told, vhost), management_url)

    finished(apply(), as_json)
    tell({"users": names}, as_json, lambda told: say(f"{len(names)} users have their rights: {', '.join(names)}"))


@app.command()
def check(management_url: ManagementUrl = LOCAL, vhost: Vhost = "/", as_json: Json = False) -> None:
    """Compare what is there with what should be; exit code 1 where they differ."""
    from tracepost.cli.doctor import report
    from tracepost.doctor.broker import managed, topology

    findings = finished(managed(topology(management_url, vhost), management_url), as_json)
    if report(findings, as_json):
        sys.exit(ISSUE)


@app.command()
def show() -> None:
    """Print the topology as a definition file, which RabbitMQ can load at its start."""
    from tracepost import topology

    typer.echo(json.dumps(topology.definitions(), indent=2))
