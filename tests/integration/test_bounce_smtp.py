"""bounce-ingest's SMTP port against a real broker: 250 means that the events are safe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import aio_pika
import aiosmtplib
import pytest
from uuid_utils.compat import uuid7

from bounce_ingest import smtp
from bounce_ingest.app import service
from bounce_ingest.parsers.pool import parsing
from bounce_ingest.parsers.values import NoParser
from bounce_ingest.receive import receive
from bounce_ingest.settings import BounceIngestSettings
from local_stack.processes import free_port
from local_stack.reports import delivery_report, feedback_report
from tests.conftest import eventually
from tests.integration.breaking import understand_or_die
from tests.proxy import proxied
from tracepost import events, tokens, topology
from tracepost.broker import publishing
from tracepost.events import AnyEvent, Bounced, Complained
from tracepost.http import Check
from tracepost.tokens import Keyring

DOMAIN = "bounces.example.test"
ORIGINAL = b"From: s@example.test\r\nMessage-ID: <x@example.test>\r\n\r\nHello\r\n"


def settings_for(amqp_url: str, token_keys: str, **more: object) -> BounceIngestSettings:
    own = {"amqp_url": amqp_url, "token_keys": token_keys, "smtp_port": free_port(), "bounce_domain": DOMAIN}
    return BounceIngestSettings.model_validate({**own, **more})


@asynccontextmanager
async def serving(amqp_url: str, token_keys: str, confirm_within: float = 10) -> AsyncIterator[int]:
    settings = settings_for(amqp_url, token_keys, confirm_within=confirm_within)
    checks: dict[str, Check] = {}
    async with service(settings, checks):
        yield settings.smtp_port


async def send(port: int, mail: bytes, *recipients: str) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        await client.sendmail("", recipients, mail)


def return_path(keyring: Keyring, message_id: UUID, recipient: str = "r@example.test") -> str:
    return f"{tokens.to_local_part(keyring.return_path(message_id, 0, recipient))}@{DOMAIN}"


async def published(url: str, count: int) -> list[AnyEvent]:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(topology.STATUS_STORE_EVENTS.name)
        found: list[AnyEvent] = []

        async def look() -> bool:
            while message := await queue.get(no_ack=True, fail=False):
                body = json.loads(message.body)
                batch = body if isinstance(body, list) else [body]
                found.extend(events.decode(json.dumps(each)) for each in batch)
            return len(found) >= count

        await eventually(look)
        return found


async def test_a_report_is_answered_250_when_its_event_is_safe(broker: str, token_keys: str, keyring: Keyring) -> None:
    message_id = uuid7()
    path = return_path(keyring, message_id)
    async with serving(broker, token_keys) as port:
        await send(port, delivery_report(ORIGINAL, path, "r@example.test", "5.1.1", "550 5.1.1 User unknown"), path)
        await send(port, feedback_report(ORIGINAL, path.upper(), "r@example.test"), path.upper())
    bounced, complained = await published(broker, 2)
    assert isinstance(bounced.data, Bounced)
    assert (bounced.data.bounce_class, bounced.data.certainty) == ("hard", "exact")
    assert isinstance(complained.data, Complained)
    assert (complained.message_id, complained.recipient_no) == (message_id, 0)


async def test_a_return_path_that_we_did_not_sign_is_refused(broker: str, token_keys: str, keyring: Keyring) -> None:
    good = return_path(keyring, uuid7())
    others = Keyring({1: bytes(32)})
    altered = good.replace(good[10], "a" if good[10] != "a" else "b", 1)
    async with serving(broker, token_keys) as port:
        for path in (
            altered,
            return_path(others, uuid7()),
            good.replace(DOMAIN, "example.test"),
            f"postmaster@{DOMAIN}",
        ):
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
                await send(port, ORIGINAL, path)
            assert refused.value.recipients[0].code == 550


async def test_without_a_confirm_the_answer_is_451(broker: str, token_keys: str, keyring: Keyring) -> None:
    path = return_path(keyring, uuid7())
    report = delivery_report(ORIGINAL, path, "r@example.test", "5.1.1", "550 5.1.1 User unknown")
    async with proxied(broker) as (url, proxy), serving(url, token_keys, confirm_within=1) as port:
        await send(port, report, path)
        proxy.answering.clear()
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await send(port, report, path)
        assert refused.value.code == 451
        proxy.answering.set()
        await send(port, report, path)
    found = await published(broker, 2)
    assert len({each.id for each in found}) == 1  # the same mail again is the same event


async def test_a_mail_that_breaks_its_parser_is_kept_and_answered_250(
    broker: str, token_keys: str, keyring: Keyring
) -> None:
    settings = settings_for(broker, token_keys)
    report = delivery_report(ORIGINAL, "", "r@example.test", "5.1.1", "550 5.1.1 User unknown")
    paths = [return_path(keyring, uuid7()) for _ in range(6)]
    async with (
        publishing(broker) as publisher,
        parsing(understand_or_die, 1, settings.limits()) as parsers,
        smtp.serving(
            settings,
            smtp.ReturnPaths(DOMAIN, keyring, partial(receive, parsers.parse, publisher, keyring)),
        ),
    ):
        mails = [report, report, b"die\r\n", report, report, report]
        await asyncio.gather(*(send(settings.smtp_port, *each) for each in zip(mails, paths, strict=True)))
    assert {type(each.data) for each in await published(broker, 5)} == {Bounced}
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        message = await (await channel.get_queue(topology.DEAD)).get(no_ack=True)
    assert message.body == b"die\r\n"
    assert (message.headers["tracepost-code"], message.headers["tracepost-reason"]) == ("not-understood", "died")


async def test_without_a_parser_the_answer_is_451(token_keys: str, keyring: Keyring) -> None:
    async def refuse(*_: object) -> None:
        raise NoParser("none can be started")

    settings = settings_for("amqp://127.0.0.1", token_keys)
    async with smtp.serving(settings, smtp.ReturnPaths(DOMAIN, keyring, refuse)):
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await send(settings.smtp_port, ORIGINAL, return_path(keyring, uuid7()))
    assert refused.value.code == 451


async def test_what_is_not_understood_is_kept(broker: str, token_keys: str, keyring: Keyring) -> None:
    path = return_path(keyring, uuid7())
    long_line = b"Subject: Hello\r\n\r\n" + b"x" * 20_000 + b"\r\n"
    async with serving(broker, token_keys) as port:
        await send(port, long_line, path)
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        message = await (await channel.get_queue(topology.DEAD)).get(no_ack=True)
    assert message.headers["tracepost-code"] == "not-understood"
    assert message.body.strip() == long_line.strip()
