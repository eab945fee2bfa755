"""`tracepost doctor`: looks at everything that must be right, and says what to do about what is not."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracepost.cli.ending import ISSUE, finished
from tracepost.cli.options import Json, given
from tracepost.cli.telling import STYLES, plain, tell

if TYPE_CHECKING:
    from tracepost.doctor.findings import Finding


class Part(StrEnum):
    """What is examined."""

    SETTINGS = "settings"
    BROKER = "broker"
    DATABASE = "database"


class Service(StrEnum):
    """Whose settings and database."""

    SENDER = "sender"
    PIXEL = "pixel"
    BOUNCE_INGEST = "bounce-ingest"
    STATUS_STORE = "status-store"


SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}


def doctor(
    ctx: typer.Context,
    parts: Annotated[list[Part] | None, typer.Argument(help="look at these alone", show_default=False)] = None,
    service: Annotated[list[Service] | None, typer.Option(help="of these services alone")] = None,
    management_url: Annotated[
        str | None,
        typer.Option(envvar="TRACEPOST_AMQP_MANAGEMENT_URL", help="by default port 15672 of AMQP_URL's host"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Examine settings, RabbitMQ and the databases, as this environment names them; exit code 1 for an error.

    Run it where the services are (on the machine, or in the image), with their environment.
    """
    amqp_url = given(ctx).get("amqp_url")
    found = finished(_examined(parts or list(Part), service or list(Service), amqp_url, management_url), as_json)
    if report(found, as_json):
        sys.exit(ISSUE)


async def _examined(
    parts: Sequence[Part], services: Sequence[Service], amqp_url: str | None, management_url: str | None
) -> list[Finding]:
    """Everything at once; told in the order of the parts."""
    import asyncio

    from tracepost.doctor import broker, database, settings

    brokers = {amqp_url} if amqp_url else settings.brokers(services)
    looks: dict[Part, list[Coroutine[Any, Any, list[Finding]]]] = {
        Part.SETTINGS: [settings.examine(services)],
        Part.BROKER: [broker.examine(url, management_url) for url in sorted(brokers)] or [_unnamed("AMQP_URL")],
        Part.DATABASE: [database.examine(*each) for each in settings.databases(services).items()]
        or [_unnamed("SENDER_DATABASE_URL and TRACEPOST_STATUS_STORE_DATABASE_URL")],
    }
    for part in looks.keys() - set(parts):
        for each in looks.pop(part):
            each.close()
    found = await asyncio.gather(*(each for part in looks.values() for each in part))
    return [each for findings in found for each in findings]


async def _unnamed(variable: str) -> list[Finding]:
    from tracepost.doctor.findings import Finding

    return [
        Finding(
            "environment", "warning", f"names no TRACEPOST_{variable}: nothing to look at", f"set TRACEPOST_{variable}"
        )
    ]


def report(findings: Sequence[Finding], as_json: bool) -> bool:
    """Tell the findings; whether there is an error among them."""
    counts = {level: sum(each.level == level for each in findings) for level in SIGNS}
    told = {"findings": [_told(each) for each in findings], "counts": counts}
    tell(told, as_json, lambda _: _show(findings))
    return counts["error"] > 0


def _told(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "level": finding.level, "found": finding.found, "remedy": finding.remedy}


def _show(findings: Sequence[Finding]) -> None:
    from rich.text import Text

    from tracepost.cli.telling import console

    out = console()
    for each in findings:
        line = Text(f"{SIGNS[each.level]} ", style=STYLES[each.level]).append(each.check, style="bold")
        out.print(line.append(f": {plain(each.found)}", style="not bold default"), soft_wrap=True)
        if each.remedy:
            out.print(Text(f"  → {plain(each.remedy)}"), soft_wrap=True)
