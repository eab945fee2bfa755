"""A sending domain examined in a real DNS server's zone, with servers that answer and that do not."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import dns.asyncresolver
import pytest

from bounce_ingest import smtp
from bounce_ingest.smtp.caps import Caps, Most
from bounce_ingest.smtp.mailboxes import Mailboxes
from local_stack.binaries import Missing
from local_stack.processes import free_port
from tests import name_server
from tests.certificates import Authority
from tests.signatures import BOTH, ED25519, RSA, key_files
from tracepost.doctor.domains import Domains
from tracepost.doctor.examine import examine
from tracepost.doctor.findings import Finding
from tracepost.doctor.publishing import record
from tracepost.tokens import Keyring
from tracepost.workers import listening

OURS = ip_address("127.0.0.1")
GOOD = "\n".join(
    [
        "example.org. MX 10 mx.example.org.",
        'example.org. TXT "v=spf1 include:bounces.example.org -all"',
        'example.org. TXT "google-site-verification=1"',
        'bounces.example.org. TXT "v=spf1 " "ip4:127.0.0.1 ~all"',
        "bounces.example.org. MX 10 mx.example.org.",
        "mx.example.org. A 127.0.0.1",
        "track.example.org. CNAME mx.example.org.",
        "1.0.0.127.in-addr.arpa. PTR mx.example.org.",
        '_dmarc.example.org. TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.org"',
        *(record(f"{key.selector}._domainkey.example.org", "TXT", key.record) for key in BOTH),
    ]
)
ASKED = Domains("example.org", "bounces.example.org", "", "mx.example.org", (OURS,), "", BOTH)


@asynccontextmanager
async def serving(zone: str) -> AsyncIterator[int]:
    """The port of a server with this zone."""
    with TemporaryDirectory() as folder:
        try:
            async with name_server.serving(Path(folder), {"": f"{name_server.ROOT_ZONE}{zone}\n"}) as port:
                yield port
        except Missing as missing:
            pytest.skip(f"a DNS server cannot be had: {missing}")


@asynccontextmanager
async def resolving(zone: str) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """Asks a server with this zone, and no other."""
    async with serving(zone) as port:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = [name_server.HOST], port, 2.0
        yield resolver


async def nobody(*_: object) -> None:
    """Takes no returned mail."""


def faults(findings: list[Finding]) -> dict[str, str]:
    return {each.check: each.remedy for each in findings if each.level != "ok"}


async def test_a_domain_that_is_well(tmp_path: Path, keyring: Keyring) -> None:
    taking, most = listening("127.0.0.1", 0), Most(connections=20, of_address=20, a_minute=1_000, in_hand=1 << 24)
    door = smtp.Door(Mailboxes("bounces.example.org", keyring), Caps(most, []), nobody, ())
    manners = smtp.Manners("mx.example.org", most=600_000, kept=300_000, idle=30, whole=60)
    async with (
        resolving(GOOD) as resolver,
        smtp.serving(door, manners, [taking], []),
        tls_server(tmp_path, "track.example.org", days=90) as (port, trust),
    ):
        asked = replace(ASKED, tracking=f"https://track.example.org:{port}/")
        findings = await examine(asked, resolver, smtp_port=taking.getsockname()[1], trust=trust)
    assert faults(findings) == {}
    assert [each.check for each in findings] == [
        "MX of example.org",
        "SPF of bounces.example.org",
        "SPF of example.org",
        "DKIM key rsa._domainkey.example.org",
        "DKIM key ed._domainkey.example.org",
        "DMARC of example.org",
        "alignment with example.org",
        "alignment with example.org",
        "PTR of 127.0.0.1",
        "MX of bounces.example.org: mx.example.org",
        "tracking host track.example.org",
        "certificate of track.example.org",
    ]


async def test_a_domain_of_which_nothing_is_known_is_told_every_record() -> None:
    async with resolving("other.example. A 127.0.0.1") as resolver:
        told = faults(await examine(replace(ASKED, tracking="https://track.example.org"), resolver))
    assert told == {
        "MX of example.org": "publish example.org. MX 10 <the server that takes mail for the domain>.",
        "SPF of bounces.example.org": 'publish bounces.example.org. TXT "v=spf1 ip4:127.0.0.1 ~all"',
        "SPF of example.org": 'publish example.org. TXT "v=spf1 ip4:127.0.0.1 ~all"',
        "DKIM key rsa._domainkey.example.org": "publish " + record("rsa._domainkey.example.org", "TXT", RSA.record),
        "DKIM key ed._domainkey.example.org": "publish " + record("ed._domainkey.example.org", "TXT", ED25519.record),
        "DMARC of example.org": 'publish _dmarc.example.org. TXT "v=DMARC1; p=none; rua=mailto:dmarc@example.org"',
        "PTR of 127.0.0.1": "have who gave you the address publish 1.0.0.127.in-addr.arpa. PTR mx.example.org."
        ", and publish mx.example.org. A 127.0.0.1",
        "MX of bounces.example.org": "publish bounces.example.org. MX 10 <the host of bounce-ingest>.",
        "tracking host track.example.org": "publish track.example.org. A <the address of the pixel>",
    }


async def test_what_others_have_published_amiss(tmp_path: Path) -> None:
    zone = "\n".join(
        [
            "example.org. MX 0 .",
            'example.org. TXT "v=spf1 -all"',
            'example.org. TXT "v=spf1 a -all"',
            'bounces.example.org. TXT "v=spf1 ip4:192.0.2.0/24 include:gone.example.org ~all"',
            "bounces.example.org. MX 10 alias.example.org.",
            "bounces.example.org. MX 20 mx.example.org.",
            "alias.example.org. CNAME mx.example.org.",
            "mx.example.org. A 127.0.0.1",
            "track.example.org. A 127.0.0.1",
            '_dmarc.example.org. TXT "v=DMARC1; p=none; aspf=s"',
            "1.0.0.127.in-addr.arpa. PTR mx.example.com.",
            record("rsa._domainkey.example.org", "TXT", RSA.record),
            'ed._domainkey.example.org. TXT "v=DKIM1; k=ed25519; p="',
        ]
    )
    async with resolving(zone) as resolver, tls_server(tmp_path, "other.example.org", days=90) as (port, trust):
        later = replace(RSA, selector="later", begins=datetime.now(UTC) + timedelta(days=9))
        asked = replace(ASKED, tracking=f"https://track.example.org:{port}", keys=(*BOTH, later))
        findings = await examine(asked, resolver, smtp_port=free_port(), trust=trust)
    *told, silent, certificate = [(each.level, each.found) for each in findings if each.level != "ok"]
    assert told == [
        ("error", "a null MX says that the domain takes no mail; receivers refuse what it sends (RFC 7505, 4.2)"),
        ("error", "gone.example.org publishes no SPF record"),
        ("warning", 'example.org publishes 2 SPF records: "v=spf1 -all" and "v=spf1 a -all"'),
        ("error", "the key is revoked: p= is empty"),
        ("warning", "is not published"),
        ("warning", "p=none asks receivers to do nothing about forgers"),
        ("warning", "no rua: nobody is told who fails"),
        (
            "warning",
            "SPF of the bounce domain bounces.example.org does not count: aspf=s asks for the very same domain",
        ),
        ("error", "is named mx.example.com, which does not have this address"),
        ("error", "is a CNAME of mx.example.org"),
    ]
    assert (silent[0], "nobody answers at 127.0.0.1" in silent[1]) == ("error", True)
    assert (certificate[0], "Hostname mismatch" in certificate[1]) == ("error", True)
    assert all(each.remedy for each in findings if each.level != "ok")


async def test_without_an_answer_of_dns_nothing_is_said_to_be_well() -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], free_port(), 0.2
    findings = await examine(replace(ASKED, tracking="https://track.example.org"), resolver)
    assert {each.level for each in findings} == {"error"}
    assert all(each.found.startswith("DNS gave no answer about ") and each.remedy for each in findings)


async def test_the_command(tmp_path: Path) -> None:
    async with serving(GOOD) as port:
        server, keys = f"{name_server.HOST}@{port}", key_files(tmp_path, BOTH)
        argv = ["--domain", "example.org", "--nameserver", server, "--include", "bounces.example.org"]
        plain, text = await doctor(keys, *argv)
        code, told = await doctor(keys, *argv, "--json", "--address", "192.0.2.9")
    assert plain == 0, text
    assert "✓ SPF of example.org: v=spf1 include:bounces.example.org -all (1 look-ups)" in text
    assert code == 1
    [wrong] = [each for each in json.loads(told)["findings"] if each["check"] == "SPF of example.org"]
    assert wrong["remedy"] == 'publish example.org. TXT "v=spf1 include:bounces.example.org ip4:192.0.2.9 -all"'


async def doctor(keys: str, *argv: str) -> tuple[int | None, str]:
    """Exit code and output of the command, with these keys in its environment."""
    command = [sys.executable, "-m", "tracepost.cli", "doctor", "dns", *argv]
    env = os.environ | {"TRACEPOST_SENDER_DKIM_KEYS": keys}
    child = await asyncio.create_subprocess_exec(*command, env=env, stdout=PIPE, stderr=STDOUT)
    output, _ = await child.communicate()
    return child.returncode, output.decode()


@asynccontextmanager
async def tls_server(folder: Path, name: str, days: int) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """A server with a certificate for this name: its port, and whom a client has to trust."""
    authority = Authority(folder)
    ours = authority.server(name, until=datetime.now(UTC) + timedelta(days=days))

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ours)
    try:
        yield server.sockets[0].getsockname()[1], ssl.create_default_context(cafile=str(authority.file))
    finally:
        server.close()
