"""Webhooks over real HTTP with a real broker: 200 means that the events are safe; of forgeries nothing comes."""

from __future__ import annotations

import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import REGISTRY

from bounce_ingest.app import service
from bounce_ingest.settings import BounceIngestSettings
from bounce_ingest.webhooks import certificates
from bounce_ingest.webhooks.values import Call, Refused
from local_stack.processes import free_port
from tests import webhooks
from tests.conftest import eventually
from tests.proxy import proxied
from tests.webhooks import CERTIFICATE_HOST, MESSAGE_ID, PROVIDERS
from tracepost import events, topology
from tracepost.events import AnyEvent, Bounced
from tracepost.http import Check
from tracepost.tokens import Keyring

SIGNED = sorted(PROVIDERS.keys() - {"amazon-ses"})
BOUNCES = {
    "amazon-ses": "bounce",
    "sendgrid": "bounce",
    "mailgun": "failed",
    "postmark": "bounce",
    "mandrill": "hard_bounce",
    "standard": "bounced",
}
NOW = datetime.now(UTC)
LONG_AGO = timedelta(hours=2)


@dataclass(frozen=True)
class Door:
    """A running bounce-ingest: post calls to it."""

    url: str
    admin: str
    session: aiohttp.ClientSession

    async def post(self, provider: str, call: Call, expected: int = 200) -> Any:
        """The answer's JSON; AssertionError for another status."""
        headers = {"content-type": "application/octet-stream", **call.headers}
        async with self.session.post(f"{self.url}/{provider}", data=io.BytesIO(call.body), headers=headers) as answer:
            assert answer.status == expected, await answer.text()
            return await answer.json(content_type=None)


@asynccontextmanager
async def serving(amqp_url: str, token_keys: str, **more: Any) -> AsyncIterator[Door]:
    port, admin = free_port(), free_port()
    own = {"amqp_url": amqp_url, "token_keys": token_keys, "bounce_domain": "bounces.example"}
    ports = {"smtp_port": free_port(), "api_port": port, "admin_port": admin}
    settings = BounceIngestSettings.model_validate({**own, **ports, **webhooks.settings(), **more})
    checks: dict[str, Check] = {}
    async with service(settings, checks), aiohttp.ClientSession() as session:
        yield Door(f"http://127.0.0.1:{port}/v1/webhooks", f"http://127.0.0.1:{admin}", session)


async def taken(url: str, queue: str, count: int) -> list[aio_pika.abc.AbstractIncomingMessage]:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        found: list[aio_pika.abc.AbstractIncomingMessage] = []
        source = await channel.get_queue(queue)

        async def look() -> bool:
            while message := await source.get(no_ack=True, fail=False):
                found.append(message)
            return len(found) >= count

        await eventually(look)
        return found


async def published(url: str, count: int) -> list[AnyEvent]:
    """The events so far, at least so many."""
    found: list[AnyEvent] = []

    async def look() -> bool:
        for message in await taken(url, topology.STATUS_STORE_EVENTS.name, 0):
            body = json.loads(message.body)
            found.extend(events.decode(json.dumps(each)) for each in (body if isinstance(body, list) else [body]))
        return len(found) >= count

    await eventually(look)
    return found


async def kept(url: str, count: int) -> list[tuple[str, str]]:
    """Why what was set apart was, and the reason's detail."""
    found = await taken(url, topology.DEAD, count)
    return [(str(each.headers["tracepost-code"]), str(each.headers["tracepost-reason"])) for each in found]


def bounce(provider: str, keyring: Keyring, **more: Any) -> Call:
    return webhooks.call(provider, webhooks.payload(provider, BOUNCES[provider], webhooks.token(keyring)), **more)


async def test_each_call_is_answered_when_its_event_is_safe(broker: str, token_keys: str, keyring: Keyring) -> None:
    counts = {"events": 1, "quarantined": 0, "ignored": 0}
    async with serving(broker, token_keys) as door:
        for provider in SIGNED:
            call = bounce(provider, keyring)
            assert await door.post(provider, call) == counts
            assert await door.post(provider, call) == counts  # it comes again
            async with door.session.head(f"{door.url}/{provider}") as answer:
                assert answer.status == 200
    found = await published(broker, 2 * len(SIGNED))
    origins = {each.data.origin: each.id for each in found if isinstance(each.data, Bounced)}
    assert origins.keys() == {f"webhook:{provider}" for provider in SIGNED}
    assert {each.id for each in found} == set(origins.values())  # the same call again is the same event
    assert {str(each.message_id) for each in found} == {MESSAGE_ID}
    assert await kept(broker, 0) == []


async def test_of_a_batch_only_the_bad_element_is_set_apart(broker: str, token_keys: str, keyring: Keyring) -> None:
    for provider, cases in {
        "sendgrid": ("delivered", "processed", "open", "unknown"),
        "mandrill": ("delivered", "send", "open", "unknown"),
    }.items():
        batch = [webhooks.payload(provider, case, webhooks.token(keyring)) for case in cases]
        async with serving(broker, token_keys) as door:
            answer = await door.post(provider, webhooks.call(provider, *batch, {"event": {}}, 7))
        assert answer == {"events": 2, "quarantined": 3, "ignored": 1}
        assert {each.name for each in await published(broker, 2)} == {"delivered", "opened"}
        assert sorted(await kept(broker, 3)) == [
            ("not-understood", "unknown_event"),
            ("not-understood", "unreadable_event"),
            ("not-understood", "unreadable_event"),
        ]


async def test_without_a_confirm_the_provider_is_to_try_again(broker: str, token_keys: str, keyring: Keyring) -> None:
    apart = webhooks.call("postmark", webhooks.payload("postmark", "bounce", ""))
    async with proxied(broker) as (url, proxy), serving(url, token_keys, confirm_within=1) as door:
        await door.post("sendgrid", bounce("sendgrid", keyring))
        proxy.answering.clear()
        for provider, call in (("sendgrid", bounce("sendgrid", keyring)), ("postmark", apart)):
            assert (await door.post(provider, call, 503))["code"] == "webhook-unavailable"
        proxy.answering.set()
        await door.post("sendgrid", bounce("sendgrid", keyring))
        await door.post("postmark", apart)
    assert len({each.id for each in await published(broker, 2)}) == 1


async def test_a_provider_without_keys_has_no_webhook(broker: str, token_keys: str, keyring: Keyring) -> None:
    async with serving(broker, token_keys, webhook_sendgrid_keys="") as door:
        told = await door.post("sendgrid", bounce("sendgrid", keyring), 404)
        assert (told["code"], told["detail"]) == (
            "webhook-not-configured",
            "set WEBHOOK_SENDGRID_KEYS to take its calls",
        )
        assert "amazon-ses, sendgrid, mailgun" in (await door.post("sparkpost", Call({}, b"", NOW), 404))["detail"]
        for path in ("sendgrid", "sparkpost"):
            async with door.session.head(f"{door.url}/{path}") as answer:
                assert answer.status == 404


async def test_what_is_no_call_of_the_provider_is_told_why(broker: str, token_keys: str, keyring: Keyring) -> None:
    token = webhooks.token(keyring)
    wrong = webhooks.payload("standard", "bounced", token)
    wrong["data"] |= {"smtp_code": 99, "colour": "red"}
    secret = webhooks.call("postmark", {}).headers
    async with serving(broker, token_keys) as door:
        told = await door.post("standard", webhooks.call("standard", wrong), 422)
        assert told["code"] == "webhook-invalid"
        assert "/data/smtp_code" in told["detail"]
        assert "/data/colour unknown field" in told["detail"]
        assert (await door.post("postmark", Call(secret, b"{", NOW), 400))["code"] == "webhook-unreadable"
        assert (await door.post("mailgun", Call({}, b"\xff", NOW), 400))["code"] == "webhook-unreadable"
        one = webhooks.call("sendgrid")
        many = webhooks.call("sendgrid", *[{}] * 10_001)
        assert (await door.post("sendgrid", many, 422))["code"] == "webhook-not-a-batch"
        assert (await door.post("sendgrid", one)) == {"events": 0, "quarantined": 0, "ignored": 0}
        large = Call(secret, b'"' + b"x" * 9 * 1024 * 1024 + b'"', NOW)
        assert (await door.post("postmark", large, 413))["code"] == "request-entity-too-large"
        async with door.session.get(f"{door.url}/postmark") as answer:
            assert answer.status == 405
    assert await published(broker, 0) == []
    assert await kept(broker, 0) == []


async def test_forgeries_come_to_nothing_but_quarantine(broker: str, token_keys: str, keyring: Keyring) -> None:
    """Not an event comes of any, so that no status changes and nobody is suppressed."""
    other = webhooks.token(keyring, "bob@example.org")
    forged_token = webhooks.token(Keyring({1: bytes(32)}))
    async with serving(broker, token_keys) as door:
        for provider in SIGNED:
            case = BOUNCES[provider]
            for token in ("", forged_token, other):
                answer = await door.post(provider, webhooks.call(provider, webhooks.payload(provider, case, token)))
                assert answer == {"events": 0, "quarantined": 1, "ignored": 0}
            call = bounce(provider, keyring)
            unsigned = replace(call, headers={}, body=b"{}" if provider == "mailgun" else call.body)
            assert (await door.post(provider, unsigned, 401))["code"] == "webhook-bad-signature"
        for provider in ("sendgrid", "mailgun", "standard"):
            stale = bounce(provider, keyring, at=NOW - LONG_AGO)
            assert await door.post(provider, stale) == {"events": 0, "quarantined": 1, "ignored": 0}
        first = webhooks.call("mailgun", webhooks.payload("mailgun", "opened", ""), token="z" * 50)
        await door.post("mailgun", first)
        swapped = bounce("mailgun", keyring, token="z" * 50)
        assert (await door.post("mailgun", swapped, 401))["code"] == "webhook-replayed"
    assert await published(broker, 0) == []
    reasons = await kept(broker, 3 * len(SIGNED) + 4)
    assert len(reasons) == 3 * len(SIGNED) + 4
    assert set(reasons) == {
        ("unplaced", "no_token"),
        ("untrusted", "bad_token"),
        ("untrusted", "other_recipient"),
        ("untrusted", "stale_call"),
    }


# Amazon SES, whose certificates are fetched


class _Here(AbstractResolver):
    """Finds every host at one port of this machine."""

    def __init__(self, port: int) -> None:
        self.port, self.asked = port, list[str]()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.append(host)
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def _tls(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server that says that it is the host, and for a client that believes it."""
    key, certificate = webhooks.signer(host)
    both = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    (folder / f"{host}.pem").write_bytes(both)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / f"{host}.pem")
    client = ssl.create_default_context(cafile=str(folder / f"{host}.pem"))
    return server, client


@dataclass
class Sns:
    """Where certificates are: what is answered can be changed, and what was asked is counted."""

    answer: web.Response | None
    resolver: _Here
    connector: aiohttp.TCPConnector
    asked: list[str]


@asynccontextmanager
async def sns(folder: Path, host: str = CERTIFICATE_HOST) -> AsyncIterator[Sns]:
    server, client = _tls(folder, host)
    port = free_port()
    resolver = _Here(port)
    here = Sns(None, resolver, aiohttp.TCPConnector(resolver=resolver, ssl=client), [])

    async def give(request: web.Request) -> web.StreamResponse:
        here.asked.append(request.path)
        return here.answer or web.Response(body=webhooks.certificate())

    app = web.Application()
    app.router.add_get("/{any:.*}", give)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=server).start()
        yield here
    finally:
        await runner.cleanup()


@pytest.fixture
async def ses(broker: str, token_keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A running service for which SNS is on this machine."""
    async with sns(tmp_path) as here:
        monkeypatch.setattr("bounce_ingest.app.fetching", lambda: certificates.fetching(here.connector))
        async with serving(broker, token_keys) as door:
            yield door, here


async def test_ses_is_believed_by_the_certificate_of_sns(ses: Any, broker: str, keyring: Keyring) -> None:
    door, here = ses
    for version in ("1", "2"):
        call = bounce("amazon-ses", keyring, version=version)
        assert await door.post("amazon-ses", call) == {"events": 1, "quarantined": 0, "ignored": 0}
    greeting = webhooks.call("amazon-ses", case="greeting")
    assert await door.post("amazon-ses", greeting) == {"events": 0, "quarantined": 0, "ignored": 1}
    assert len(here.asked) == 1  # it is kept
    assert len({each.id for each in await published(broker, 2)}) == 1


async def test_a_subscription_is_kept_and_never_visited(ses: Any, broker: str) -> None:
    door, here = ses
    for case in ("subscription", "end of subscription"):
        answer = await door.post("amazon-ses", webhooks.call("amazon-ses", case=case))
        assert answer == {"events": 0, "quarantined": 1, "ignored": 0}
    (message, _) = await taken(broker, topology.DEAD, 2)
    assert message.headers["tracepost-reason"] == "subscription"
    assert "Action=ConfirmSubscription" in json.loads(message.body)["SubscribeURL"]
    assert here.asked == ["/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"]


async def test_certificates_from_elsewhere_prove_nothing(ses: Any, broker: str, keyring: Keyring) -> None:
    door, here = ses
    path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
    for url in (f"https://sns.eu-west-1.amazonaws.com.evil.example{path}", f"https://evil.example{path}"):
        told = await door.post("amazon-ses", bounce("amazon-ses", keyring, SigningCertURL=url), 401)
        assert told["code"] == "webhook-bad-signature"
    other = bounce("amazon-ses", keyring, TopicArn="arn:aws:sns:eu-west-1:999999999999:ses-events")
    assert (await door.post("amazon-ses", other, 403))["code"] == "webhook-other-topic"
    assert here.asked == []
    stale = bounce("amazon-ses", keyring, at=NOW - LONG_AGO)
    assert await door.post("amazon-ses", stale) == {"events": 0, "quarantined": 1, "ignored": 0}
    altered = bounce("amazon-ses", keyring)
    altered = replace(altered, body=altered.body.replace(b"Permanent", b"Transient"))
    assert (await door.post("amazon-ses", altered, 401))["code"] == "webhook-bad-signature"
    assert await published(broker, 0) == []
    assert await kept(broker, 1) == [("untrusted", "stale_call")]


BAD = [
    web.Response(status=302, headers={"Location": "https://evil.example/certificate.pem"}),
    web.Response(status=404),
    web.Response(body=b"x" * (certificates.MOST_BYTES + 1)),
]


@pytest.mark.parametrize("bad", BAD, ids=["redirect", "not found", "too large"])
async def test_a_certificate_that_cannot_be_had_is_to_be_asked_for_again(tmp_path: Path, bad: web.Response) -> None:
    url = f"https://{CERTIFICATE_HOST}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
    async with sns(tmp_path) as here, certificates.fetching(here.connector) as found:
        here.answer = bad
        for _ in range(2):
            with pytest.raises(Refused) as refused:
                await found.get(url)
            assert refused.value.code == "unavailable"
        assert len(here.asked) == 1  # and not at once, whoever asks
        assert set(here.resolver.asked) == {CERTIFICATE_HOST}


async def test_a_certificate_of_another_host_is_not_fetched(tmp_path: Path) -> None:
    async with sns(tmp_path, "evil.example") as here, certificates.fetching(here.connector) as found:
        with pytest.raises(Refused):
            await found.get(f"https://{CERTIFICATE_HOST}/SimpleNotificationService-{'0' * 32}.pem")
        assert here.asked == []


async def test_calls_are_counted_by_provider_and_outcome(broker: str, token_keys: str, keyring: Keyring) -> None:
    def count(outcome: str) -> float:
        labels = {"provider": "postmark", "outcome": outcome}
        return REGISTRY.get_sample_value("tracepost_webhook_calls_total", labels) or 0.0

    before = count("taken"), count("bad-signature")
    async with serving(broker, token_keys) as door:
        await door.post("postmark", bounce("postmark", keyring))
        await door.post("postmark", bounce("postmark", keyring, secret="postmark:guessed"), 401)
    assert (count("taken"), count("bad-signature")) == (before[0] + 1, before[1] + 1)
