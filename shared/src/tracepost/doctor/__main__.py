"""`python -m tracepost.doctor example.com`: what is wrong with a sending domain's DNS, and what to publish."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from tracepost.doctor.asked import read, resolver
from tracepost.doctor.examine import examine
from tracepost.doctor.findings import Finding

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


def _variables(name: str) -> list[str]:
    return [f"TRACEPOST_SENDER_{name}", f"TRACEPOST_{name}"]


def examine_domain(
    domain: Annotated[str, typer.Argument(help="the domain that mail is from, e.g. example.com")],
    bounce_domain: Annotated[str, typer.Option(envvar=_variables("BOUNCE_DOMAIN"), help="of return paths")] = "",
    pixel_url: Annotated[str, typer.Option(envvar=_variables("PIXEL_URL"), help="where the pixel is reached")] = "",
    hostname: Annotated[str, typer.Option(envvar=_variables("HOSTNAME"), help="our name in EHLO")] = "",
    dkim: Annotated[
        str, typer.Option(envvar=_variables("DKIM_KEYS"), help="example.org:selector=/path/key.pem, …")
    ] = "",
    address: Annotated[list[str] | None, typer.Option(help="from which mail goes out; give it several times")] = None,
    include: Annotated[str, typer.Option(help="the domain of the relay's SPF record")] = "",
    nameserver: Annotated[list[str] | None, typer.Option(help="whom to ask: 192.0.2.53, or 192.0.2.53@5353")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Look at SPF, DKIM, DMARC, PTR and MX as receivers do; exit code 1 when something is wrong."""
    try:
        asked = read(
            domain,
            bounce_domain=bounce_domain,
            pixel_url=pixel_url,
            hostname=hostname,
            addresses=address or (),
            include=include,
            keys=dkim,
        )
        asking = resolver(nameserver or ())
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    findings = asyncio.run(examine(asked, asking))
    typer.echo(json.dumps([asdict(each) for each in findings], ensure_ascii=False) if as_json else _written(findings))
    sys.exit(any(each.level == "error" for each in findings))


def _written(findings: list[Finding]) -> str:
    lines = ((f"{MARKS[each.level]} {each.check}: {each.found}", each.remedy) for each in findings)
    return "\n".join(f"{line}\n        → {remedy}" if remedy else line for line, remedy in lines)


if __name__ == "__main__":
    typer.run(examine_domain)
