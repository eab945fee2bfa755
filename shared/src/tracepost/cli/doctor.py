"""`tracepost doctor`: looks at everything that must be right, and says what to do about what is not."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

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
    DNS = "dns"


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
    domain: Annotated[
        list[str] | None, typer.Option(help="that mail is from; by default those that DKIM_KEYS sign for")
    ] = None,
    address: Annotated[list[str] | None, typer.Option(help="an IP address by which mail goes out")] = None,
    include: Annotated[str, typer.Option(help="the domain of the relay's SPF record")] = "",
    nameserver: Annotated[list[str] | None, typer.Option(help="whom to ask: 192.0.2.53, or 192.0.2.53@5353")] = None,
    as_json: Json = False,
) -> None:
    """Examine settings, RabbitMQ, the databases and DNS, as this environment names them; exit code 1 for an error.

    Run it where the services are (on the machine, or in the image), with their environment.
    """
    sending = (domain or (), address or (), include, nameserver or ())
    asked = Asked(service or list(Service), given(ctx).get("amqp_url"), management_url, *sending)
    if report(finished(_examined(parts or list(Part), asked), as_json), as_json):
        sys.exit(ISSUE)


class Asked(NamedTuple):
    """What is examined, as far as the command line says."""

    services: Sequence[Service]
    amqp_url: str | None
    management_url: str | None
    domains: Sequence[str]
    addresses: Sequence[str]
    include: str
    nameservers: Sequence[str]


async def _examined(parts: Sequence[Part], asked: Asked) -> list[Finding]:
    """Everything at once; told in the order of the parts."""
    looks = {Part.SETTINGS: _settings, Part.BROKER: _brokers, Part.DATABASE: _databases, Part.DNS: _dns}
    return await _together(look(asked) for part, look in looks.items() if part in parts)


async def _settings(asked: Asked) -> list[Finding]:
    from tracepost.doctor import settings

    return await settings.examine(asked.services)


async def _brokers(asked: Asked) -> list[Finding]:
    from tracepost.doctor import broker, settings

    urls = {asked.amqp_url} if asked.amqp_url else settings.brokers(asked.services)
    found = await _together(broker.examine(url, asked.management_url) for url in sorted(urls))
    return found or [_unnamed("RabbitMQ", "TRACEPOST_AMQP_URL")]


async def _databases(asked: Asked) -> list[Finding]:
    from tracepost.doctor import database, settings

    named = settings.databases(asked.services)
    found = await _together(database.examine(*each) for each in named.items())
    return found or [_unnamed("databases", "TRACEPOST_SENDER_DATABASE_URL and TRACEPOST_STATUS_STORE_DATABASE_URL")]


async def _dns(asked: Asked) -> list[Finding]:
    from tracepost.doctor.asked import resolver
    from tracepost.doctor.examine import examine
    from tracepost.doctor.findings import Finding
    from tracepost.doctor.settings import domains

    try:
        sending, asking = domains(asked.domains, asked.addresses, asked.include), resolver(asked.nameservers)
    except (ValueError, OSError) as error:
        return [Finding("sending domains", "error", str(error), "mend it in the sender's environment, or the option")]
    found = await _together(examine(each, asking) for each in sending)
    return found or [_unnamed("sending domains", "TRACEPOST_SENDER_DKIM_KEYS, or give --domain")]


async def _together(looks: Iterable[Awaitable[list[Finding]]]) -> list[Finding]:
    import asyncio

    return [each for findings in await asyncio.gather(*looks) for each in findings]


def _unnamed(check: str, variables: str) -> Finding:
    from tracepost.doctor.findings import Finding

    return Finding(check, "warning", "this environment says nothing of it", f"set {variables}")


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
