"""The simulator on the wire: what it answers, keeps and sends back; and that its users are told of all of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from local_stack import simulator
from local_stack.demo import CASES
from local_stack.simulator import BEHAVIOURS, GMAIL, PERSON, PRIVACY_PROXY, SCANNER, Loads, World, simulating
from tests.conftest import ROOT, eventually
from tracepost import http

RETURN_PATH = "b+token@bounces.test"
TAKEN = "250 2.0.0 OK: queued"


@dataclass
class Ours:
    """Our side, as the simulator sees it: the pixel and the return path's server."""

    answers: list[str] = field(default_factory=list)  # to the next final dots, then 250
    user_agents: list[str] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)
    pixel_url: str = ""

    async def pixel(self, request: web.Request) -> web.Response:
        self.user_agents.append(request.headers["User-Agent"])
        return web.Response()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        assert envelope.mail_from == "<>"
        assert envelope.rcpt_tos == [RETURN_PATH]
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        self.reports.append(envelope.content)
        return "250 2.0.0 OK"

    def mail(self, recipient: str) -> bytes:
        html = f'<p>Hello</p><img src="{self.pixel_url}">'
        head = f"To: {recipient}\r\nMessage-ID: <1@test>\r\nTracepost-Token: b+token\r\nContent-Type: text/html\r\n"
        return f"{head}\r\n{html}\r\n".encode()


@dataclass(frozen=True)
class Running:
    """The simulator, and our side."""

    smtp: int
    http: int
    ours: Ours

    async def send(self, *recipients: str) -> str:
        """The answer to the final dot; aiosmtplib's exceptions for any other than 250."""
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=self.smtp, start_tls=False) as client:
            _, answer = await client.sendmail(RETURN_PATH, recipients, self.ours.mail(recipients[0]))
        return f"250 {answer}"

    async def mailbox(self, recipient: str = "") -> Any:
        url = f"http://127.0.0.1:{self.http}/mailbox"
        async with aiohttp.request("GET", url, params={"recipient": recipient} if recipient else {}) as response:
            return await response.json()

    async def reactions(self, recipient: str, count: int) -> Sequence[str]:
        async def look() -> list[str]:
            kinds = [each["kind"] for each in (await self.mailbox(recipient))["reactions"]]
            return kinds if len(kinds) >= count else []

        return await eventually(look)


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    ours = Ours()
    loop = asyncio.get_running_loop()
    returns = await loop.create_server(lambda: SMTP(ours, loop=loop), "127.0.0.1", 0)
    world = World("127.0.0.1", returns.sockets[0].getsockname()[1])
    app = web.Application()
    app.router.add_get("/o/{token}", ours.pixel)
    async with http.serving(app, "127.0.0.1", 0) as pixel, simulating("127.0.0.1", 0, world) as ports:
        ours.pixel_url = f"http://127.0.0.1:{pixel}/o/token.gif"
        yield Running(ports.smtp, ports.http, ours)
    returns.close()


@pytest.mark.parametrize(
    ("name", "code", "enhanced"),
    [
        ("unknown-user", 550, "5.1.1"),
        ("unknown-domain", 550, "5.1.2"),
        ("mailbox-full", 552, "5.2.2"),
        ("blames-us", 550, "5.7.1"),
        ("deferred", 451, "4.3.2"),
        ("no-such-behaviour", 550, "5.1.1"),
    ],
)
async def test_a_refusal_at_rcpt_stays_and_nothing_is_kept(name: str, code: int, enhanced: str) -> None:
    async with running() as it:
        for _ in range(4):
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
                await it.send(f"{name}+tag@any.test")
            [answer] = refused.value.recipients
            assert (answer.code, answer.message[:5]) == (code, enhanced)
        assert (await it.mailbox())["mails"] == []


async def test_content_is_refused_at_the_final_dot() -> None:
    async with running() as it:
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await it.send("spam@any.test")
        assert refused.value.code == 554
        assert (await it.mailbox())["mails"] == []


async def test_attempts_are_counted_for_each_whole_address() -> None:
    async with running() as it:
        for recipient in ("deferred-twice+1@any.test", "deferred-twice+2@any.test"):
            for _ in range(2):
                with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
                    await it.send(recipient)
        assert await it.send("Deferred-Twice+1@any.test") == TAKEN
        assert await it.send("deferred-twice+1@any.test") == TAKEN


@pytest.mark.parametrize(("name", "copies"), [("dies-before", 0), ("dies-after", 1)])
async def test_a_connection_that_dies_leaves_a_copy_or_none_and_the_next_goes_well(name: str, copies: int) -> None:
    recipient = f"{name}+tag@any.test"
    async with running() as it:
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await it.send(recipient)
        assert len((await it.mailbox(recipient))["mails"]) == copies
        assert await it.send(recipient) == TAKEN
        assert len((await it.mailbox(recipient))["mails"]) == copies + 1


async def test_a_slow_server_dribbles_its_answers() -> None:
    async with running() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.smtp)
        await reader.readline()
        for command in (b"HELO us", b"MAIL FROM:<a@b.test>"):
            writer.write(command + b"\r\n")
            await reader.readline()
        began = time.monotonic()
        writer.write(b"RCPT TO:<slow@any.test>\r\n")
        first = await reader.read(100)
        assert first == b"250-"
        assert await reader.readline() + await reader.readline() == b"one moment please\r\n250 2.1.5 OK\r\n"
        assert time.monotonic() - began > 1
        writer.close()
        await writer.wait_closed()
        assert (await it.send("slow@any.test")).endswith("OK: queued")


@pytest.mark.parametrize(
    ("name", "reader"),
    [("read", PERSON), ("read-gmail", GMAIL), ("prefetched", PRIVACY_PROXY), ("scanned", SCANNER)],
)
async def test_images_are_loaded_by_whom_the_behaviour_says(name: str, reader: Loads) -> None:
    async with running() as it:
        await it.send(f"{name}@any.test")
        assert await it.reactions(f"{name}@any.test", 1) == ["open"]
        assert it.ours.user_agents == [reader.user_agent]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("returned", ["delivery-report"]),
        ("returned-twice", ["delivery-report", "delivery-report"]),
        ("forwarded-dead", ["delivery-report"]),
        ("read-then-returned", ["open", "delivery-report"]),
        ("complains", ["feedback-report"]),
        ("complains-redacted", ["feedback-report"]),
        ("not-spam", ["feedback-report", "feedback-report"]),
        ("out-of-office", ["auto-reply"]),
    ],
)
async def test_mail_comes_back_as_the_behaviour_says(name: str, kinds: list[str]) -> None:
    recipient = f"{name}@any.test"
    async with running() as it:
        await it.send(recipient)
        assert await it.reactions(recipient, len(kinds)) == kinds
        assert len(it.ours.reports) == len([kind for kind in kinds if kind != "open"])
        if name == "returned-twice":
            assert it.ours.reports[0] == it.ours.reports[1]
        if name == "complains-redacted":
            assert recipient.encode() not in it.ours.reports[0]


async def test_an_early_report_is_there_before_the_answer() -> None:
    async with running() as it:
        await it.send("returned-early@any.test")
        assert len(it.ours.reports) == 1


async def test_what_goes_back_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as it:
        it.ours.answers = ["451 4.3.0 not now"]
        await it.send("returned@any.test")
        assert await it.reactions("returned@any.test", 1) == ["delivery-report"]
    assert "tries again" in capsys.readouterr().out


async def test_the_mailbox_tells_each_copy() -> None:
    async with running() as it:
        await it.send("delivered+1@any.test", "delivered+2@any.test")
        await it.send("delivered+2@any.test")
        told = await it.mailbox("Delivered+2@any.test")
        assert len(told["mails"]) == 2
        assert told["mails"][0].pop("time") < told["mails"][1].pop("time")
        expected = {"kind": "mail", "recipient": "delivered+2@any.test", "rfc_message_id": "<1@test>"}
        assert told["mails"] == [expected | {"token": "b+token"}] * 2
        assert len((await it.mailbox())["mails"]) == 3


async def test_the_memory_is_bounded_and_says_what_it_forgot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "MOST_KEPT", 2)
    monkeypatch.setattr(simulator, "MOST_COUNTED", 1)
    async with running() as it:
        for number in range(3):
            await it.send(f"delivered+{number}@any.test")
        told = await it.mailbox()
        assert ([each["recipient"][:11] for each in told["mails"]], told["forgotten"]) == (
            ["delivered+1", "delivered+2"],
            1,
        )
        for number in (1, 2, 1):
            with pytest.raises(aiosmtplib.SMTPServerDisconnected):
                await it.send(f"dies-before+{number}@any.test")


def test_every_behaviour_is_documented_with_the_status_that_the_demo_expects() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text()
    documented = dict(re.findall(r"^\| `([\w-]+)` \| .+ \| `(\w+)`[^|]*\|$", text, re.MULTILINE))
    assert documented == {case.behaviour: case.expected for case in CASES if not case.again}
    assert documented.keys() == BEHAVIOURS.keys()
