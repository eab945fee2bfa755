"""bounce-ingest's SMTP port against real servers: 250 means that what a mail says is safe."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice

import aiosmtplib
import pytest
from uuid_utils.compat import uuid7

from bounce_ingest.parsers.pool import parsing
from bounce_ingest.parsers.values import NoParser
from bounce_ingest.placing import place
from bounce_ingest.quarantine.store import quarantining
from bounce_ingest.quarantine.values import Held
from bounce_ingest.receive import TRY_AGAIN, Receiving
from bounce_ingest.report import understand
from bounce_ingest.smtp import Door, Manners, serving
from bounce_ingest.smtp.caps import Caps, Most
from bounce_ingest.smtp.mailboxes import Mailboxes
from tests.bouncing import (
    DOMAIN,
    HOST,
    ORIGINAL,
    RECIPIENT,
    bounce,
    bouncing,
    complaint,
    published,
    return_path,
    send,
    settings_for,
)
from tests.conftest import KEYRING
from tests.handing_in import Mail, crowd
from tests.integration.breaking import understand_or_die
from tests.proxy import proxied
from tests.unit import hostile
from tracepost import postgres, tokens
from tracepost.broker import publishing
from tracepost.events import Bounced, Complained
from tracepost.tokens import LIFETIME, Keyring
from tracepost.workers import listening

BOMB = 50_000  # bytes
MANNERS = Manners("localhost", 1 << 20, 1 << 20, idle=60, whole=600)


def caps() -> Caps:
    return Caps(Most(100, 100, 1_000, 1 << 28))


async def test_a_report_is_answered_250_when_its_event_is_safe(broker: str, database: str) -> None:
    message_id = uuid7()
    path = return_path(message_id)
    async with bouncing(broker, database) as service:
        await service.send(bounce(path), path)
        await service.send(complaint(path), path.upper())
        assert await service.held() == []
    bounced, complained = await published(broker, 2)
    assert isinstance(bounced.data, Bounced)
    assert (bounced.data.bounce_class, bounced.data.certainty) == ("hard", "exact")
    assert isinstance(complained.data, Complained)
    assert (complained.message_id, complained.recipient_no) == (message_id, 0)


async def test_what_is_not_ours_is_refused_and_the_fixed_mailboxes_are_ours(broker: str, database: str) -> None:
    good = return_path(uuid7())
    altered = good.replace(good[10], "a" if good[10] != "a" else "b", 1)
    token = KEYRING.return_path(uuid7(), 0, RECIPIENT, datetime.now(UTC).date() - LIFETIME - timedelta(1))
    pixel = KEYRING.pixel(uuid7(), 0)
    refused = {
        altered: "5.1.1",
        return_path(uuid7(), keyring=Keyring({1: bytes(32)})): "5.1.1",
        f"{tokens.to_local_part(token)}@{DOMAIN}": "5.1.1",
        f"{tokens.to_local_part(pixel)}@{DOMAIN}": "5.1.1",
        f"info@{DOMAIN}": "5.1.1",
        good.replace(DOMAIN, "example.test"): "5.7.1",
        good.replace(DOMAIN, f"x.{DOMAIN}"): "5.7.1",
    }
    async with bouncing(broker, database) as service:
        for path, code in refused.items():
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as told:
                await service.send(ORIGINAL, path)
            reply = told.value.recipients[0]
            assert (reply.code, reply.message.split()[0]) == (550, code), path
        mail = complaint()
        for name in ("fbl", "Abuse", "POSTMASTER"):
            await service.send(mail, f"{name}@{DOMAIN}")
        assert [each["reason"] for each in await service.held()] == ["unplaced"]  # the same mail thrice is one


async def test_without_a_confirm_the_answer_is_451(broker: str, database: str) -> None:
    path, abuse = return_path(uuid7()), f"abuse@{DOMAIN}"
    told, held = bounce(path), complaint()
    async with (
        proxied(broker) as (url, rabbitmq),
        proxied(database) as (tables, postgresql),
        bouncing(url, tables, confirm_within=0.5) as service,
    ):
        await service.send(told, path)
        await service.send(held, abuse)
        for server, mail, recipient in ((rabbitmq, told, path), (postgresql, held, abuse)):
            server.answering.clear()
            with pytest.raises(aiosmtplib.SMTPDataError) as refused:
                await service.send(mail, recipient)
            assert (refused.value.code, refused.value.message[:5]) == (451, "4.3.0")
            server.answering.set()
            await service.send(mail, recipient)
        assert len(await service.held()) == 1
    found = await published(broker, 2)
    assert len({each.id for each in found}) == 1  # the same mail again is the same event


async def test_a_mail_that_breaks_its_parser_is_kept_and_answered_250(broker: str, database: str) -> None:
    settings = settings_for(broker, database)
    paths = [return_path(uuid7()) for _ in range(6)]
    async with (
        publishing(broker) as publisher,
        postgres.connected(database, "bounce_ingest") as pool,
        quarantining(pool, KEYRING, 10) as quarantine,
        parsing(understand_or_die, 1, settings.limits()) as parsers,
    ):
        receiving = Receiving(parsers.parse, publisher, quarantine, KEYRING)
        door = Door(Mailboxes(DOMAIN, KEYRING), caps(), receiving.receive, TRY_AGAIN)
        async with serving(door, MANNERS, [listening(HOST, settings.smtp_port)]):
            mails = [bounce(), bounce(), b"die\r\n", bounce(), bounce(), bounce()]
            await asyncio.gather(*(send(settings.smtp_port, *each) for each in zip(mails, paths, strict=True)))
        (entry,) = await quarantine.page(None, None, 10)
        kept = await quarantine.get(entry.id)
    assert kept
    assert (kept.held.raw, kept.held.reason, kept.held.detail) == (b"die\r\n", "parser_failed", "died")
    assert kept.held.claim == Mailboxes(DOMAIN, KEYRING).claim(paths[2])
    assert {type(each.data) for each in await published(broker, 5)} == {Bounced}


async def test_bombs_are_survived_answered_and_kept(broker: str, database: str) -> None:
    builds = [*hostile.SHAPES.values(), *(build for _, build in islice(hostile.baited(), 0, None, 50))]
    bombs = {build(BOMB) + b"\r\n" for build in builds}
    expected = {bomb for bomb in bombs if isinstance(place(understand(bomb), bomb, "smtp", None, KEYRING), Held)}
    taken: list[Mail] = []
    async with bouncing(broker, database) as service, postgres.connected(database, "bounce_ingest") as pool:
        mails = [Mail(bomb, f"abuse@{DOMAIN}", None) for bomb in bombs]
        assert await crowd(service.settings.smtp_port, mails, 20, taken.append) == 0
        held = {row["raw"] for row in await pool.fetch("SELECT raw FROM quarantine")}
    assert len(taken) == len(bombs)
    assert held == expected
    assert len(held) > len(bombs) / 2


@pytest.mark.parametrize("fault", [NoParser("none can be started"), ZeroDivisionError()], ids=["no parser", "a bug"])
async def test_a_mail_that_cannot_be_taken_in_is_answered_451(fault: Exception) -> None:
    async def refuse(*_: object) -> None:
        raise fault

    door = Door(Mailboxes(DOMAIN, KEYRING), caps(), refuse, TRY_AGAIN)
    taking = listening(HOST, 0)
    async with serving(door, MANNERS, [taking]):
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await send(taking.getsockname()[1], ORIGINAL, return_path(uuid7()))
    assert refused.value.code == 451
