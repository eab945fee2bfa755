"""Signed mail as other programs see it: OpenDKIM, and what the whole sender hands over."""

from __future__ import annotations

from base64 import b64encode
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from local_stack.binaries import Missing
from sender.compose import compose
from tests import smtp_servers
from tests.conftest import eventually
from tests.integration.test_door import OPERATOR, post, serving
from tests.signatures import BOTH, by_dkimpy, by_opendkim, key_files
from tests.unit.mails import UNTRACKED
from tests.unit.samples import NOON, request
from tests.unit.test_dkim import WHOLE, sign
from tests.unit.test_whole_mails import SMALL, raw_request

ODD_MAILS = {
    "everything": WHOLE,
    "an empty body": sign(compose(request(text=""), UNTRACKED, NOON)),
    "white space at line ends": sign(compose(request(text="a \t\r\n b  c \r\n\r\n \r\n"), UNTRACKED, NOON)),
    "8 bit": sign(compose(raw_request(SMALL + "ä \r\n".encode()), UNTRACKED, NOON)),
    "an address beyond ASCII": sign(compose(request(to=["jörg@example.org"]), UNTRACKED, NOON)),
}


@pytest.mark.parametrize("mail", ODD_MAILS.values(), ids=ODD_MAILS.keys())
def test_opendkim_agrees(mail: bytes, tmp_path: Path) -> None:
    try:
        found = by_opendkim(tmp_path, mail, BOTH)
    except Missing as missing:
        pytest.skip(f"OpenDKIM cannot be had: {missing}")
    assert found == ["rsa", "ed"]
    assert by_dkimpy(mail, BOTH) == [True, True]


def test_opendkim_is_not_pleased_with_everything(tmp_path: Path) -> None:
    try:
        assert by_opendkim(tmp_path, WHOLE.replace(b"Subject: ", b"Subject: Re: "), BOTH) == []
    except Missing as missing:
        pytest.skip(f"OpenDKIM cannot be had: {missing}")


# the whole sender

UTF8 = {"EHLO": "250-mx.example.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8"}
PNG = {"filename": "Logo für Ann.png", "content_type": "image/png", "content": "iVBORw0KGgo=", "content_id": "logo"}


def asked(**fields: Any) -> dict[str, Any]:
    return {"from": "Shop <shop@example.org>", "to": ["ann@simulator.test"], **fields}


async def test_what_the_sender_hands_over_is_whole_and_signed(
    broker: str, database: str, token_keys: str, tmp_path: Path
) -> None:
    html = {"html": '<p>Grüße</p><img src="cid:logo">', "text": "Grüße\n.\n", "attachments": [PNG]}
    async with (
        smtp_servers.serving(UTF8) as server,
        serving(
            broker,
            database,
            token_keys,
            relay_port=server.port,
            dkim_keys=key_files(tmp_path, BOTH),
            feedback_id="tracepost",
        ) as door,
    ):

        async def handed_over(**fields: Any) -> tuple[bytes, str]:
            before = len(server.messages)
            status, told, _ = await post(door, asked(**fields), OPERATOR)
            assert status == 202, told

            async def taken() -> bool:
                return len(server.messages) > before

            await eventually(taken)
            commands = [command for visit in server.visits for command in visit.commands if command.startswith("MAIL")]
            return server.messages[-1].replace(b"\r\n..", b"\r\n."), commands[-1]

        mail, command = await handed_over(**html, tags=["welcome"], list_unsubscribe="https://example.org/u")
        read = message_from_bytes(mail, policy=default)
        assert by_dkimpy(mail, BOTH) == [True, True]
        assert f"SIZE={len(mail)}" in command or "SIZE" not in command
        assert "SMTPUTF8" not in command
        assert read["feedback-id"] == "welcome:helpdesk:tracepost"
        assert read.get_body(("plain",)).get_content() == "Grüße\r\n.\r\n"  # type: ignore[union-attr]  # it is there
        assert [part.get_filename() for part in read.walk() if part.get_filename()] == ["Logo für Ann.png"]
        assert b"/o/" in mail

        mail, _ = await handed_over(raw=b64encode(b"Bcc: dora@example.org\r\n" + SMALL).decode())
        assert by_dkimpy(mail, BOTH) == [True, True]
        assert mail.endswith(SMALL)
        assert b"dora" not in mail

        mail, command = await handed_over(to=["jörg@simulator.test"], text="a")
        assert by_dkimpy(mail, BOTH) == [True, True]
        assert command.endswith(" SMTPUTF8")

        mail, _ = await handed_over(**{"from": "shop@elsewhere.test"}, text="a")
        assert b"DKIM-Signature" not in mail


async def test_who_is_not_to_be_written_to_is_when_that_is_overridden(
    broker: str, database: str, token_keys: str
) -> None:
    async with smtp_servers.serving() as server, serving(broker, database, token_keys, relay_port=server.port) as door:
        suppressions = door.parent / "suppressions"
        status, told, _ = await post(suppressions, {"address": "ann@simulator.test", "why": "asked for"}, OPERATOR)
        assert status == 200, told
        for reason in ({}, {"override_suppression": "they called us"}):
            status, told, _ = await post(door, asked(text="a", **reason), OPERATOR)
            assert status == 202, told

        async def done() -> bool:
            connection = await asyncpg.connect(database)
            try:
                states = await connection.fetch("SELECT state::text FROM deliveries")
            finally:
                await connection.close()
            return [each[0] for each in states] == ["done", "done"]

        await eventually(done)
        assert len(server.messages) == 1
