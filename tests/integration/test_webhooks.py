"""Webhooks over real HTTP: 200 means that what was told is safe; a forgery comes to no more than quarantine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import REGISTRY

from bounce_ingest.webhooks.values import Call
from tests import webhooks
from tests.bouncing import Bouncing, bouncing, published
from tests.conftest import KEYRING, eventually
from tests.proxy import proxied
from tests.webhooks import BOUNCES, MESSAGE_ID, PROVIDERS, RECIPIENT, looked, posted
from tracepost.broker import publishing
from tracepost.events import Bounced, Erased, event
from tracepost.tokens import Keyring

SIGNED = sorted(PROVIDERS.keys() - {"amazon-ses"})  # whose certificates have a test file of their own
NOW = datetime.now(UTC)
LONG_AGO = timedelta(hours=2)
TOKEN = webhooks.token(KEYRING)


@asynccontextmanager
async def serving(broker: str, database: str, **more: object) -> AsyncIterator[Bouncing]:
    async with bouncing(broker, database, **{**webhooks.settings(), **more}) as service:
        yield service


def told(events: int = 0, quarantined: int = 0, ignored: int = 0) -> dict[str, int]:
    return {"events": events, "quarantined": quarantined, "ignored": ignored}


def bounce(provider: str, token: str = TOKEN, **more: Any) -> Call:
    return webhooks.call(provider, webhooks.payload(provider, BOUNCES[provider], token), **more)


async def held(service: Bouncing) -> list[tuple[str, str]]:
    """Why each that is in quarantine is there."""
    return sorted((each["reason"], each["detail"]) for each in await service.held(limit=200))


async def test_each_call_is_answered_when_its_event_is_safe(broker: str, database: str) -> None:
    async with serving(broker, database) as service:
        for provider in SIGNED:
            call = bounce(provider)
            assert await posted(service, provider, call) == told(events=1)
            assert await posted(service, provider, call) == told(events=1)  # it comes again
            assert await looked(service, provider) == 200
        assert await held(service) == []
    found = await published(broker, 2 * len(SIGNED))
    ids = {each.data.origin: each.id for each in found if isinstance(each.data, Bounced)}
    assert ids.keys() == {f"webhook:{provider}" for provider in SIGNED}
    assert {each.id for each in found} == set(ids.values())  # the same call again is the same event
    assert {str(each.message_id) for each in found} == {MESSAGE_ID}


async def test_of_a_batch_only_the_bad_element_is_set_apart(broker: str, database: str) -> None:
    cases = {"sendgrid": ("delivered", "processed", "unknown"), "mandrill": ("delivered", "send", "unknown")}
    async with serving(broker, database) as service:
        for provider, names in cases.items():
            batch = [webhooks.payload(provider, name, TOKEN) for name in names]
            call = webhooks.call(provider, *batch, {"event": {}, "of": provider}, f"of {provider}")
            assert await posted(service, provider, call) == told(events=1, quarantined=3, ignored=1)
        assert await held(service) == [
            *[("not_understood", "unknown_event")] * 2,
            *[("not_understood", "unreadable_event")] * 4,
        ]
    assert [each.name for each in await published(broker, 2)] == ["delivered", "delivered"]


async def test_without_a_confirm_the_provider_is_to_try_again(broker: str, database: str) -> None:
    async with proxied(broker) as (url, proxy), serving(url, database, confirm_within=1) as service:
        call = bounce("sendgrid")
        await posted(service, "sendgrid", call)
        proxy.answering.clear()
        assert (await posted(service, "sendgrid", call, 503))["code"] == "webhook-unavailable"
        proxy.answering.set()
        await posted(service, "sendgrid", call)
    assert len({each.id for each in await published(broker, 2)}) == 1


async def test_while_the_quarantine_is_away_the_provider_is_to_try_again(broker: str, database: str) -> None:
    async with proxied(database) as (url, proxy), serving(broker, url, confirm_within=1) as service:
        call = bounce("postmark", "")
        proxy.answering.clear()
        assert (await posted(service, "postmark", call, 503))["code"] == "webhook-unavailable"
        proxy.answering.set()
        assert await posted(service, "postmark", call) == told(quarantined=1)
        assert await held(service) == [("unplaced", "no_token")]


async def test_a_provider_without_keys_has_no_webhook(broker: str, database: str) -> None:
    async with serving(broker, database, webhook_sendgrid_keys="") as service:
        answer = await posted(service, "sendgrid", bounce("sendgrid"), 404)
        assert (answer["code"], answer["detail"]) == (
            "webhook-not-configured",
            "set WEBHOOK_SENDGRID_KEYS to take its calls",
        )
        other = await posted(service, "sparkpost", Call({}, b"", NOW), 404)
        assert other["detail"].endswith("amazon-ses, sendgrid, mailgun, postmark, mandrill, standard")
        assert [await looked(service, each) for each in ("sendgrid", "sparkpost", "mandrill")] == [404, 404, 200]


async def test_what_is_no_call_of_the_provider_is_told_why(broker: str, database: str) -> None:
    wrong = webhooks.payload("standard", "bounced", TOKEN)
    wrong["data"] |= {"smtp_code": 99, "colour": "red"}
    secret = webhooks.call("postmark", {}).headers
    large = Call(secret, b'"' + b"x" * 9 * 1024 * 1024 + b'"', NOW)
    refused = (
        ("standard", webhooks.call("standard", wrong), 422, "webhook-invalid"),
        ("postmark", Call(secret, b"{", NOW), 400, "webhook-unreadable"),
        ("mailgun", Call({}, b"\xff", NOW), 400, "webhook-unreadable"),
        ("mailgun", Call({}, b"[]", NOW), 401, "webhook-bad-signature"),
        ("sendgrid", webhooks.call("sendgrid", *[{}] * 10_001), 422, "webhook-not-a-batch"),
        ("postmark", large, 413, "request-entity-too-large"),
    )
    async with serving(broker, database) as service:
        for provider, call, status, code in refused:
            answer = await posted(service, provider, call, status)
            assert answer["code"] == code
            if provider == "standard":
                assert "/data/smtp_code" in answer["detail"]
                assert "/data/colour unknown field" in answer["detail"]
        assert await posted(service, "sendgrid", webhooks.call("sendgrid")) == told()
        assert await looked(service, "postmark", "GET") == 405
        assert await held(service) == []
    assert await published(broker, 0) == []


async def test_forgeries_come_to_nothing_but_quarantine(broker: str, database: str) -> None:
    """Not an event comes of any, so that no status changes and nobody is suppressed."""
    tokens = ("", webhooks.token(Keyring({1: bytes(32)})), webhooks.token(KEYRING, "bob@example.org"))
    async with serving(broker, database) as service:
        for provider in SIGNED:
            for token in tokens:
                assert await posted(service, provider, bounce(provider, token)) == told(quarantined=1)
            unsigned = replace(bounce(provider), headers={})
            if provider == "mailgun":
                unsigned = replace(unsigned, body=b'{"event-data": {}}')
            assert (await posted(service, provider, unsigned, 401))["code"] == "webhook-bad-signature"
        for provider in ("sendgrid", "mailgun", "standard"):
            assert await posted(service, provider, bounce(provider, at=NOW - LONG_AGO)) == told(quarantined=1)
        seen = webhooks.call("mailgun", webhooks.payload("mailgun", "opened", ""), token="z" * 50)
        assert await posted(service, "mailgun", seen) == told(quarantined=1)
        swapped = webhooks.call("mailgun", webhooks.payload("mailgun", "failed", TOKEN), token="z" * 50)
        assert (await posted(service, "mailgun", swapped, 401))["code"] == "webhook-replayed"
        assert set(await held(service)) == {
            ("unplaced", "no_token"),
            ("untrusted", "bad_token"),
            ("untrusted", "other_recipient"),
            ("untrusted", "stale_call"),
        }
    assert await published(broker, 0) == []


async def test_what_is_held_can_be_released_by_hand(broker: str, database: str) -> None:
    async with serving(broker, database) as service:
        await posted(service, "sendgrid", bounce("sendgrid", at=NOW - LONG_AGO))
        (entry,) = await service.held()
        assert entry["subject"] == "sendgrid: stale call"
        answer = await service.ask("POST", f"/quarantine/{entry['id']}/release")
        assert (answer["result"], [each["event"] for each in answer["events"]]) == ("told", ["bounced"])
        await posted(service, "mandrill", bounce("mandrill", ""))
        (entry,) = await service.held()
        answer = await service.ask("POST", f"/quarantine/{entry['id']}/release")
        assert (answer["result"], answer["detail"]) == ("held", "no_token")
        await posted(service, "sendgrid", bounce("sendgrid"))
    assert len({each.id for each in await published(broker, 2)}) == 1  # the same as if it had come in time


async def test_what_is_held_is_erased_with_its_recipient(broker: str, database: str) -> None:
    async with serving(broker, database) as service, publishing(broker) as publisher:
        await posted(service, "postmark", bounce("postmark", ""))
        (entry,) = await service.held()
        erased = Erased(by="ann", address_key=KEYRING.address_key(RECIPIENT))
        await publisher.publish(event("status-store", MESSAGE_ID, 0, erased))

        async def is_empty() -> bool:
            shown = await service.ask("GET", f"/quarantine/{entry['id']}")
            return shown["erased_at"] is not None and shown["raw"] == ""

        await eventually(is_empty)


async def test_calls_are_counted_by_provider_and_outcome(broker: str, database: str) -> None:
    def count(outcome: str) -> float:
        labels = {"provider": "postmark", "outcome": outcome}
        return REGISTRY.get_sample_value("tracepost_webhook_calls_total", labels) or 0.0

    before = count("taken"), count("bad-signature")
    async with serving(broker, database) as service:
        await posted(service, "postmark", bounce("postmark"))
        await posted(service, "postmark", bounce("postmark", secret="postmark:guessed"), 401)
    assert (count("taken"), count("bad-signature")) == (before[0] + 1, before[1] + 1)
