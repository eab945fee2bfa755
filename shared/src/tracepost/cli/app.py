"""All commands, and where they find the services."""

from __future__ import annotations

from typing import Annotated

import typer

from tracepost.cli import dead, doctor, keys, messages, quarantine, queue, sending, suppressions, topology, watching

HELP = """Send mail and follow what becomes of it; operate the services that do so.

Exit codes: 0 well, 1 an issue or not found, 2 wrong use, 65 wrong data, 69 unavailable, 75 try again, 77 not allowed.
"""

app = typer.Typer(no_args_is_help=True, help=HELP, pretty_exceptions_enable=False)
app.command("send")(sending.send)
app.command("status")(messages.status)
app.command("find")(messages.find)
app.command("watch")(watching.watch)
app.command("events")(messages.events)
app.command("why")(messages.why)
app.add_typer(queue.app, name="queue")
app.add_typer(suppressions.app, name="suppressions")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(dead.app, name="dead")
app.add_typer(keys.app, name="keys")
app.add_typer(topology.app, name="topology")
app.command("doctor")(doctor.doctor)


def _url(of: str, variable: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(envvar=variable, help=of, show_default=False)
    return option


@app.callback()
def where(
    ctx: typer.Context,
    api_url: Annotated[str | None, _url("status-store's API (http://127.0.0.1:8104)", "TRACEPOST_API_URL")] = None,
    sender_url: Annotated[str | None, _url("the sender's API (http://127.0.0.1:8101)", "TRACEPOST_SENDER_URL")] = None,
    bounce_ingest_url: Annotated[
        str | None, _url("bounce-ingest's API (http://127.0.0.1:8103)", "TRACEPOST_BOUNCE_INGEST_URL")
    ] = None,
    api_key: Annotated[str | None, _url("the key for all of them", "TRACEPOST_API_KEY")] = None,
    amqp_url: Annotated[str | None, _url("RabbitMQ; else HTTP sends", "TRACEPOST_AMQP_URL")] = None,
) -> None:
    ctx.obj = {
        "api_url": api_url,
        "sender_url": sender_url,
        "bounce_ingest_url": bounce_ingest_url,
        "api_key": api_key,
        "amqp_url": amqp_url,
    }
