"""Amazon SES is believed by a certificate of SNS that was fetched from SNS, and by no other."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bounce_ingest.webhooks import certificates
from bounce_ingest.webhooks.values import Call, Refused
from local_stack.processes import free_port
from tests import webhooks
from tests.bouncing import Bouncing, bouncing, published
from tests.conftest import KEYRING
from tests.webhooks import CERTIFICATE_HOST, posted

PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
TOKEN = webhooks.token(KEYRING)


class _Here(AbstractResolver):
    """Finds every host at one port of this machine."""

    def __init__(self, port: int) -> None:
        self.port, self.asked = port, set[str]()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.add(host)
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Sns:
    """Where certificates are: what it answers, if not the certificate, and what it was asked."""

    resolver: _Here
    connector: aiohttp.TCPConnector
    answer: web.Response | None = None
    asked: list[str] = field(default_factory=list)

    async def give(self, request: web.Request) -> web.StreamResponse:
        """The certificate, or what was put in its place."""
        self.asked.append(request.path)
        return self.answer or web.Response(body=webhooks.certificate())


@asynccontextmanager
async def sns(folder: Path, host: str = CERTIFICATE_HOST) -> AsyncIterator[Sns]:
    """A server with a certificate for the host, and a connector that takes it for every host."""
    server, client = _tls(folder / "tls.pem", host)
    port = free_port()
    resolver = _Here(port)
    here = Sns(resolver, aiohttp.TCPConnector(resolver=resolver, ssl=client))
    app = web.Application()
    app.router.add_get("/{any:.*}", here.give)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=server).start()
        yield here
    finally:
        await runner.cleanup()


def _tls(file: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server that says that it is the host, and for a client that believes such a certificate."""
    key, certificate = webhooks.signer(host)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sns]:
    """SNS is on this machine, for the service too."""
    async with sns(tmp_path) as here:
        monkeypatch.setattr("bounce_ingest.app.fetching", lambda: certificates.fetching(here.connector))
        yield here


@pytest.fixture
async def service(here: Sns, broker: str, database: str) -> AsyncIterator[Bouncing]:
    """A running service for which SNS is on this machine."""
    async with bouncing(broker, database, **webhooks.settings()) as running:
        yield running


def bounce(**more: Any) -> Call:
    return webhooks.call("amazon-ses", webhooks.payload("amazon-ses", "bounce", TOKEN), **more)


async def test_ses_is_believed_by_the_certificate_of_sns(service: Bouncing, here: Sns, broker: str) -> None:
    for version in ("1", "2"):
        answer = await posted(service, "amazon-ses", bounce(version=version))
        assert answer == {"events": 1, "quarantined": 0, "ignored": 0}
    greeting = webhooks.call("amazon-ses", case="greeting")
    assert await posted(service, "amazon-ses", greeting) == {"events": 0, "quarantined": 0, "ignored": 1}
    assert here.asked == [PATH]  # it is kept
    assert len({each.id for each in await published(broker, 2)}) == 1


async def test_a_subscription_is_held_and_never_visited(service: Bouncing, here: Sns) -> None:
    for case in ("subscription", "end of subscription"):
        answer = await posted(service, "amazon-ses", webhooks.call("amazon-ses", case=case))
        assert answer == {"events": 0, "quarantined": 1, "ignored": 0}
    first, second = await service.held()
    assert {first["detail"], second["detail"]} == {"subscription"}
    assert "Action=ConfirmSubscription" in (await service.ask("GET", f"/quarantine/{second['id']}"))["raw"]
    assert here.asked == [PATH]
    assert here.resolver.asked == {CERTIFICATE_HOST}


async def test_certificates_from_elsewhere_prove_nothing(service: Bouncing, here: Sns, broker: str) -> None:
    for url in (f"https://{CERTIFICATE_HOST}.evil.example{PATH}", f"https://evil.example{PATH}"):
        answer = await posted(service, "amazon-ses", bounce(SigningCertURL=url), 401)
        assert answer["code"] == "webhook-bad-signature"
    other = bounce(TopicArn="arn:aws:sns:eu-west-1:999999999999:ses-events")
    assert (await posted(service, "amazon-ses", other, 403))["code"] == "webhook-other-topic"
    assert here.asked == []
    stale = bounce(at=datetime.now(UTC) - timedelta(hours=2))
    assert await posted(service, "amazon-ses", stale) == {"events": 0, "quarantined": 1, "ignored": 0}
    altered = bounce()
    altered = replace(altered, body=altered.body.replace(b"Permanent", b"Transient"))
    assert (await posted(service, "amazon-ses", altered, 401))["code"] == "webhook-bad-signature"
    assert [each["detail"] for each in await service.held()] == ["stale_call"]
    assert await published(broker, 0) == []


BAD: dict[str, dict[str, Any]] = {
    "a redirect": {"status": 302, "headers": {"Location": f"https://evil.example{PATH}"}},
    "not found": {"status": 404},
    "too large": {"body": b"x" * (certificates.MOST_BYTES + 1)},
}


@pytest.mark.parametrize("bad", BAD)
async def test_without_a_certificate_sns_is_to_try_again(service: Bouncing, here: Sns, broker: str, bad: str) -> None:
    here.answer = web.Response(**BAD[bad])
    for _ in range(2):
        assert (await posted(service, "amazon-ses", bounce(), 503))["code"] == "webhook-unavailable"
    assert here.asked == [PATH]  # and not at once, whoever asks
    assert here.resolver.asked == {CERTIFICATE_HOST}
    assert await published(broker, 0) == []


async def test_a_host_that_is_not_sns_gives_no_certificate(tmp_path: Path) -> None:
    async with sns(tmp_path, "evil.example") as here, certificates.fetching(here.connector) as found:
        with pytest.raises(Refused, match="cannot be had"):
            await found.get(f"https://{CERTIFICATE_HOST}{PATH}")
        assert here.asked == []


async def test_only_so_many_certificates_are_kept(tmp_path: Path) -> None:
    async with sns(tmp_path) as here, certificates.fetching(here.connector) as found:
        for number in range(certificates.MOST_KEPT + 1):
            await found.get(f"https://{CERTIFICATE_HOST}/{number}")
        await found.get(f"https://{CERTIFICATE_HOST}/0")
        await found.get(f"https://{CERTIFICATE_HOST}/{certificates.MOST_KEPT}")
    assert len(here.asked) == certificates.MOST_KEPT + 2
