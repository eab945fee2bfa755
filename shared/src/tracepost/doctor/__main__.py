"""`python -m tracepost.doctor example.com`: what is wrong with a sending domain's DNS, and what to publish."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import dns.asyncresolver
import typer
from dns.nameserver import Do53Nameserver

from tracepost import dkim_keys
from tracepost.addresses import parse
from tracepost.dkim_keys import Key
from tracepost.doctor.domains import Address, Domains
from tracepost.doctor.examine import examine
from tracepost.doctor.findings import Finding
from tracepost.settings import parts

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
        asked = Domains(
            sender=_domain(domain),
            bounce=_domain(bounce_domain),
            tracking=pixel_url,
            hostname="" if hostname == "localhost" else hostname,
            addresses=tuple(map(_address, address or ())),
            include=_domain(include),
            keys=tuple(map(_key, dkim_keys.read(parts(dkim)))),
        )
        resolver = _resolver(nameserver or [])
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    findings = asyncio.run(examine(asked, resolver))
    typer.echo(json.dumps([asdict(each) for each in findings], ensure_ascii=False) if as_json else _written(findings))
    sys.exit(any(each.level == "error" for each in findings))


def _domain(text: str) -> str:
    """In ASCII and lower case; ValueError says what is wrong with it."""
    return parse(f"a@{text.rstrip('.')}").domain if text else ""


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address; write --address 192.0.2.5") from None


def _key(file: dkim_keys.KeyFile) -> Key:
    try:
        return Key(file.domain, file.selector, dkim_keys.private(Path(file.path).read_bytes()), file.begins)
    except ValueError as error:
        raise ValueError(f"{file.path} {error}") from None


def _resolver(nameservers: list[str]) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=not nameservers)
    if nameservers:
        resolver.nameservers = [_nameserver(*each.partition("@")[::2]) for each in nameservers]
    return resolver


def _nameserver(address: str, port: str) -> Do53Nameserver:
    return Do53Nameserver(str(_address(address)), int(port or 53))


def _written(findings: list[Finding]) -> str:
    lines = []
    for each in findings:
        lines.append(f"{MARKS[each.level]} {each.check}: {each.found}")
        if each.remedy:
            lines.append(f"        → {each.remedy}")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(examine_domain)
