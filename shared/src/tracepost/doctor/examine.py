"""Examines a sending domain: what DNS and the servers that it names say, and what is to be done about it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dns.asyncresolver
from yarl import URL

from tracepost.dkim_private import Key
from tracepost.doctor import dkim, dmarc, domains, records, spf
from tracepost.doctor.domains import Address, Answer, Domains
from tracepost.doctor.findings import Finding
from tracepost.doctor.records import Dns, Unanswered

SMTP = 25


async def examine(
    asked: Domains, resolver: dns.asyncresolver.Resolver, *, smtp_port: int = SMTP, trust: ssl.SSLContext | None = None
) -> list[Finding]:
    """All that is found, in order; `trust` says whose certificates hold, by default those whom the system trusts."""
    known = Dns(resolver)
    found = await asyncio.gather(
        _told(f"MX of {asked.sender}", _replies(asked, known)),
        *(_told(f"SPF of {each}", _spf(each, asked, known)) for each in _spf_domains(asked)),
        _told(f"DKIM of {asked.sender}", _dkim(asked, known)),
        _told(f"DMARC of {asked.sender}", _dmarc(asked, known)),
        _told("PTR of the sending addresses", _reverse(asked, known)),
        _told(f"MX of {asked.bounce}", _returns(asked, known, smtp_port)),
        _told("tracking host", _tracking(asked, known, trust)),
    )
    return [finding for findings in found for finding in findings]


async def _told(check: str, look: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await look
    except Unanswered as error:
        remedy = "try again; if it stays, ask who runs the name servers of the domain"
        return [Finding(check, "error", str(error), remedy)]


async def _replies(asked: Domains, known: Dns) -> list[Finding]:
    exchanges, addresses = await asyncio.gather(known.exchanges(asked.sender), known.addresses(asked.sender))
    return [domains.replies(asked.sender, exchanges, addresses)]


def _spf_domains(asked: Domains) -> list[str]:
    return list(dict.fromkeys(each for each in (asked.bounce, asked.sender) if each))


async def _spf(domain: str, asked: Domains, known: Dns) -> list[Finding]:
    try:
        found = spf.judge(await spf.read(domain, known), asked.addresses, asked.include)
    except spf.Broken as broken:
        remedy = broken.remedy or f"publish {spf.proposed(None, asked.addresses, asked.include, domain)}"
        found = [Finding(f"SPF of {domain}", "error", broken.found, remedy)]
    if domain == (asked.bounce or asked.sender):
        return found
    # Receivers look it up for return paths, which are of the bounce domain; few look here as well.
    return _milder(found)


def _milder(findings: list[Finding]) -> list[Finding]:
    return [replace(each, level="warning") if each.level == "error" else each for each in findings]


async def _dkim(asked: Domains, known: Dns) -> list[Finding]:
    keys = dkim.of_domain(asked.keys, asked.sender)
    texts = await asyncio.gather(*(known.texts(dkim.name(key)) for key in keys))
    found = [finding for key, each in zip(keys, texts, strict=True) for finding in _published(key, each)]
    return found or [dkim.without(asked.sender)]


def _published(key: Key, texts: Sequence[str]) -> list[Finding]:
    found = dkim.judge(key, texts)
    return _milder(found) if key.begins and key.begins > datetime.now(UTC) else found


async def _dmarc(asked: Domains, known: Dns) -> list[Finding]:
    sender = await dmarc.walk(asked.sender, known)
    bounce = await dmarc.walk(asked.bounce, known) if asked.bounce else None
    signing = {key.domain for key in dkim.of_domain(asked.keys, asked.sender)}
    walks = [await dmarc.walk(domain, known) for domain in signing]
    reporters = [await _reporter(sender, domain, known) for domain in dmarc.reporters(sender)]
    return [*dmarc.judge(sender), *reporters, *dmarc.alignment(sender, bounce, walks)]


async def _reporter(sender: dmarc.Walk, domain: str, known: Dns) -> Finding:
    return dmarc.reporter(sender, domain, await known.texts(dmarc.consent(sender, domain)))


async def _reverse(asked: Domains, known: Dns) -> list[Finding]:
    if not asked.addresses and not asked.include:
        found = "neither an address nor a relay is known: nobody looked whether SPF lets you send"
        remedy = "name each address that mail goes out by (--address), or the relay's SPF domain (--include)"
        return [Finding("sending addresses", "warning", found, remedy)]
    return [await _named(address, asked.hostname, known) for address in asked.addresses]


async def _named(address: Address, hostname: str, known: Dns) -> Finding:
    names = await known.names(address)
    forward = {name: await known.addresses(name) for name in names}
    return domains.reverse(address, names, forward, hostname)


async def _returns(asked: Domains, known: Dns, port: int) -> list[Finding]:
    if not asked.bounce:
        return []
    exchanges = await known.exchanges(asked.bounce)
    hosts = [each.host for each in exchanges if each.host] or [asked.bounce]
    answers = await asyncio.gather(*(_answer(host, known, port) for host in hosts))
    return domains.returns(asked.bounce, exchanges, answers)


async def _answer(host: str, known: Dns, port: int) -> Answer:
    addresses, alias = await asyncio.gather(known.addresses(host), known.alias(host))
    if alias or not addresses:
        return Answer(host, addresses, alias)
    try:
        return Answer(host, addresses, greeting=await records.greeting(addresses[0], port))
    except (OSError, TimeoutError) as error:
        return Answer(host, addresses, fault=f"nobody answers at {addresses[0]} port {port}: {_words(error)}")


async def _tracking(asked: Domains, known: Dns, trust: ssl.SSLContext | None) -> list[Finding]:
    url = URL(asked.tracking)
    if not url.host:
        return []
    addresses, alias = await asyncio.gather(known.addresses(url.host), known.alias(url.host))
    left: timedelta | None = None
    fault = ""
    if addresses and url.scheme == "https":
        try:
            left = await records.certificate(url.host, addresses[0], url.port or 443, trust)
        except (OSError, TimeoutError) as error:
            fault = _words(error)
    return domains.tracking(url.host, addresses, alias, https=url.scheme == "https", left=left, fault=fault)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    return str(error) or f"no answer within {records.PATIENCE:g} s"
