"""What a real server has put into a mailbox is what was asked for, byte for byte, and its signatures verify."""

from __future__ import annotations

import re
from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sender.compose import Links, compose
from tests.mail_servers import net
from tests.mail_servers.machine import SMTPUTF8_USER
from tests.peers.site import HOME_ADDRESS, KEYS, SENDER, Site
from tests.signatures import by_dkimpy
from tests.unit import fuzzed
from tests.unit.mails import attached, canonical, content, read
from tests.unit.samples import body
from tracepost import requests
from tracepost.problems import Problem

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="session")]

UTF8_ADDRESS = f"{SMTPUTF8_USER}@{net.HOME_DOMAIN}"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
DOTS = ".\n..\n. a dot\n...\n\n.\nFrom here it goes on\n.\n"
LONG = f"{'a' * 997}\n{'b' * 998}\n{'c' * 5000}\n{'ä' * 3000}\n"
HEAD = f"From: {SENDER}\r\nTo: {HOME_ADDRESS}\r\nSubject: Whole\r\n".encode()
MIME = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


def file(name: str, content: bytes, **more: str) -> dict[str, str]:
    return {"filename": name, "content": b64encode(content).decode(), **more}


def whole(raw: bytes) -> dict[str, Any]:
    return {"raw": b64encode(raw).decode(), "subject": None, "text": None}


MAILS: dict[str, dict[str, Any]] = {
    "plain": {"text": "Hello\n"},
    "dots at the beginnings of lines": {"text": DOTS, "html": f"<pre>{DOTS}</pre>"},
    "long lines": {"text": LONG, "html": f"<p>{LONG}</p>"},
    "line ends of every kind": {"text": "a\r\nb\nc\rd\n\n\n"},
    "white space at line ends": {"text": "a  \t\n  \n\t b \n \n"},
    "beyond ASCII": {"text": "Grüße 🙂 \u2028 あ\n", "html": "<p>Grüße 🙂</p></body>", "subject": "Größe: あいう" * 30},
    "attachments": {
        "attachments": [
            file("Rechnung für Ann.pdf", PNG, content_type="application/pdf"),
            file("empty", b""),
            file("dots.txt", DOTS.encode(), content_type="text/plain"),
        ]
    },
    "inline parts": {
        "html": '<img src="cid:logo">',
        "attachments": [file("logo.png", PNG, content_type="image/png", content_id="logo")],
    },
    "headers": {
        "headers": {"References": " ".join(f"<{n}@tickets.example>" for n in range(60)), "X-Note": "ä" * 400},
        "list_unsubscribe": "https://tickets.example/u",
        "reply_to": ["Grüße <reply@tickets.example>"],
        "cc": ["Somebody <somebody@customer.example>"],
    },
    "a whole mail": whole(HEAD + b"Bcc: dora@example.org\r\n\r\nHello\r\n"),
    "a whole mail of dots": whole(HEAD + b"\r\n" + DOTS.encode()),
    "a whole mail of 8 bits": whole(HEAD + MIME + "\r\nGrüße\r\n\xa0\r\n".encode()),
    "a whole mail of bytes": whole(HEAD + MIME + b"\r\n" + bytes(range(128, 256)) * 7 + b"\r\n"),
    "a whole mail of long lines": whole(HEAD + b"\r\n" + b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n"),
    "a whole mail with folded fields": whole(HEAD + b"X-Note: a\r\n\t b\r\n  c  \r\n\r\nFrom a\r\n\r\n\r\n"),
}


def asked(fields: dict[str, Any]) -> bytes:
    return body(**{"sender": SENDER, "to": [HOME_ADDRESS], **fields})


@pytest.mark.parametrize("fields", MAILS.values(), ids=MAILS.keys())
async def test_a_mail_is_stored_as_it_was_sent(site: Site, fields: dict[str, Any]) -> None:
    request = asked(fields)
    answer = await site.send(request)
    mail = await site.stored(answer["rfc_message_id"])
    assert by_dkimpy(mail, KEYS) == [True, True]
    assert mail.endswith(b"\r\n" + expected(request, mail))
    says(fields, mail)


def says(fields: dict[str, Any], mail: bytes) -> None:
    """The library reads what was asked for."""
    assert b"dora" not in mail
    if "raw" in fields:
        return  # which `expected` has whole
    for kind, name in (("plain", "text"), ("html", "html")):
        if text := fields.get(name):
            found = (content(read(mail), kind) or "").replace(fuzzed.image(mail), "")
            assert found.removesuffix("\r\n") == (canonical(text) or "").removesuffix("\r\n")
    files = [each for each in fields.get("attachments", ()) if "content_id" not in each]
    assert [(name, b64encode(content).decode()) for name, content in attached(read(mail))] == [
        (each["filename"], each["content"]) for each in files
    ]


def expected(request: bytes, mail: bytes) -> bytes:
    """The copy as we compose it, with the date, the token and the pixel of the mail that was stored."""
    found = read(mail)
    pixel = next(iter(re.findall('src="(.*?)"', fuzzed.image(mail))), None)
    links = Links(str(found["message-id"]), str(found["tracepost-token"]), pixel)
    return compose(requests.decode(request), links, parsedate_to_datetime(found["date"]))


async def test_the_servers_own_words_are_told(site: Site) -> None:
    answer = await site.send(asked({}))
    told = await site.told(answer["message_id"], "delivered", "smtp")
    assert told["smtp_code"] == 250
    assert re.search(TAKEN[site.name], told["response"])
    await site.reaches(answer["message_id"], "delivered")


TAKEN = {"postfix": r"Ok: queued as \w+", "exim": r"OK id=[\w-]+", "opensmtpd": r"\w+ Message accepted for delivery"}


async def test_an_address_beyond_ascii(site: Site) -> None:
    answer = await site.send(asked({"to": [UTF8_ADDRESS]}))
    if site.name == "opensmtpd":  # which does not offer it
        told = await site.told(answer["message_id"], "bounced", "smtp")
        assert told["diagnostic"] == "5.6.7 not sent: the message needs SMTPUTF8, which the server does not offer"
        assert told["bounce_class"] == "soft"
        await site.reaches(answer["message_id"], "failed")
    else:
        mail = await site.stored(answer["rfc_message_id"])
        assert f"To: {UTF8_ADDRESS}\r\n".encode() in mail
        assert by_dkimpy(mail, KEYS) == [True, True]
        await site.reaches(answer["message_id"], "delivered")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=fuzzed.requests((HOME_ADDRESS,)))
async def test_whatever_is_asked_for_is_stored_or_the_reason_is_told(site: Site, fields: dict[str, Any]) -> None:
    fields["sender"] = fields["sender"].replace("shop@example.org", "support@tickets.example")
    request = body(**fields)
    answer = await site.send(request)
    if "rfc_message_id" not in answer:
        assert fuzzed.explained(Problem.model_validate(answer), fields)
        return
    mail = await site.stored(answer["rfc_message_id"])
    assert by_dkimpy(mail, KEYS) == [True, True]
    fuzzed.check(requests.decode(request), mail, fuzzed.image(mail))
