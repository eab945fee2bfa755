"""bounce-ingest's SMTP and LMTP as odd and hostile clients find them: survived, answered, and what came is kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from uuid_utils.compat import uuid7

from bounce_ingest.smtp import Certificate, Door, Manners, serving
from bounce_ingest.smtp.caps import Caps, Most
from bounce_ingest.smtp.mailboxes import Mailboxes
from tests.bouncing import DOMAIN, HOST, return_path
from tests.conftest import KEYRING, eventually
from tracepost.runner import Unavailable, background
from tracepost.tokens import Claim
from tracepost.workers import listening

MOST = Most(connections=20, of_address=20, a_minute=1_000, in_hand=1 << 24)
MANNERS = Manners("mx.example.test", most=600_000, kept=300_000, idle=30, whole=60)
ABUSE, POSTMASTER = f"abuse@{DOMAIN}", f"postmaster@{DOMAIN}"


class Taken:
    """What was handed on; a mail that says `not yet` is not taken for a return path."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, Claim | None, bytes]] = []
        self.open, self.begun = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def receive(self, way: str, claim: Claim | None, mail: bytes) -> None:
        self.begun.set()
        await self.open.wait()
        if claim and b"not yet" in mail:
            raise TimeoutError("not yet")
        self.mails.append((way, claim, mail))

    @property
    def contents(self) -> list[bytes]:
        return [mail for _, _, mail in self.mails]


class Client:
    """Says what a test wants it to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        """The last line of the next reply; nothing when the connection has ended."""
        async with asyncio.timeout(10):
            while (line := await self.reader.readline())[3:4] == b"-":
                pass
            return line.decode().rstrip()

    async def say(self, line: str | bytes) -> str:
        """The reply to one command."""
        self.writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def begin(self, *recipients: str, hello: str = "EHLO client.test") -> None:
        """Up to the content."""
        for line in (hello, "MAIL FROM:<>", *(f"RCPT TO:<{each}>" for each in recipients)):
            assert (await self.say(line)).startswith("250 ")
        assert (await self.say("DATA")).startswith("354 ")

    async def mail(self, content: bytes, *recipients: str, hello: str = "EHLO client.test") -> str:
        """The reply to a whole mail, whose end is not added."""
        await self.begin(*(recipients or [ABUSE]), hello=hello)
        self.writer.write(content)
        return await self.reply()


@asynccontextmanager
async def door(
    taken: Taken, most: Most = MOST, manners: Manners = MANNERS, trusted: str = "10.0.0.0/8"
) -> AsyncIterator[tuple[int, int]]:
    """The ports of SMTP and LMTP."""
    own = Door(Mailboxes(DOMAIN, KEYRING), Caps(most, [ip_network(trusted)]), taken.receive, (TimeoutError,))
    smtp, lmtp = listening(HOST, 0), listening(HOST, 0)
    async with serving(own, manners, [smtp], [lmtp]):
        yield smtp.getsockname()[1], lmtp.getsockname()[1]


@asynccontextmanager
async def connected(port: int, greeting: str = "220 ") -> AsyncIterator[Client]:
    """A client that has been greeted."""
    client = Client(*await asyncio.open_connection(HOST, port))
    try:
        assert (await client.reply()).startswith(greeting)
        yield client
    finally:
        client.writer.transport.abort()


CONTENTS = {
    "lines over all limits": (b"x" * 200_000 + b"\r\ny\r\n", None),
    "bare CR and LF": (b"a\rb\nc\r\r\nd\n\re\r\n", None),
    "NUL and all other bytes": (bytes(range(256)) + b"\r\n", None),
    "nothing": (b"", None),
    "an empty line": (b"\r\n", None),
    "dots": (b"..a\r\n...\r\n..\r\n", b".a\r\n..\r\n.\r\n"),
    "a dot that nobody has doubled": (b".a\r\n", b"a\r\n"),
    "no end but ours: LF . LF": (b"a\n.\nMAIL FROM:<>\r\n", None),
    "no end but ours: LF . CR LF": (b"a\n.\r\nMAIL FROM:<>\r\n", None),
    "no end but ours: CR LF . LF": (b"a\r\n.\nMAIL FROM:<>\r\n", b"a\r\n\nMAIL FROM:<>\r\n"),
    "no end but ours: CR . CR": (b"a\r.\rMAIL FROM:<>\r\n", None),
    "no end but ours: CR LF . CR": (b"a\r\n.\rMAIL FROM:<>\r\n", b"a\r\n\rMAIL FROM:<>\r\n"),
    "no end but ours: CR LF NUL . CR LF": (b"a\r\n\0.\r\nMAIL FROM:<>\r\n", None),
}


async def test_whatever_the_content_is_it_ends_at_its_end_alone_and_is_handed_on_as_it_is() -> None:
    taken = Taken()
    async with door(taken) as (port, _), connected(port) as client:
        for name, (content, _) in CONTENTS.items():
            assert (await client.mail(content + b".\r\n")).startswith("250 2.0.0"), name
        for name, (content, read) in CONTENTS.items():
            assert taken.mails.pop(0)[2] == (content if read is None else read), name
        # In pieces, and with the next command behind it.
        for piece in (
            b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<fbl@",
            DOMAIN.encode(),
            b">\r\nDATA\r\n.\r",
            b"\nNOOP\r\nQU",
        ):
            client.writer.write(piece)
            await client.writer.drain()
        replies = [await client.reply() for _ in range(6)]
        assert [each[:3] for each in replies] == ["250", "250", "250", "354", "250", "250"]
        assert await client.say("IT") == "221 Bye"
        assert taken.contents == [b""]


async def test_of_a_large_mail_the_beginning_is_kept_and_of_one_too_large_nothing() -> None:
    taken = Taken()
    async with door(taken) as (port, _), connected(port) as client:
        line = b"y" * 998 + b"\r\n"
        assert (await client.mail(line * 500 + b".\r\n")).startswith("250 ")
        assert taken.contents == [line * 300]
        assert (await client.mail(line * 700 + b".\r\n")).startswith("552 5.3.4")
        assert (await client.say("MAIL FROM:<> SIZE=600001")).startswith("552 ")
        assert len(taken.mails) == 1


async def test_commands_that_are_none_cost_the_session_nothing() -> None:
    taken = Taken()
    async with door(taken) as (port, _), connected(port) as client:
        for line in (b"\0\0\0", b"\xff\xfe", b"X" * 200_000, b"RCPT TO:<a@b>", b"DATA", b"EHLO", b"MAIL FROM:<a@b"):
            assert (await client.say(line))[0] == "5", line[:20]
        assert (await client.mail(b"x\r\n.\r\n")).startswith("250 ")
        assert (await client.say("RCPT TO:<@@>"))[0] == "5"
        assert (await client.say("AUTH LOGIN"))[0] == "5"
        assert (await client.say("VRFY postmaster"))[:3] in {"252", "502"}
        for _ in range(100):
            assert (await client.say(f"RCPT TO:<{ABUSE}>"))[:3] == "503"
        assert (await client.say("MAIL FROM:<>"))[:3] == "250"
        for _ in range(100):
            assert (await client.say("RCPT TO:<postmaster>"))[:3] == "250"
        assert (await client.say(f"RCPT TO:<{ABUSE}>")).startswith("452 4.5.3")


async def test_one_reply_for_all_in_smtp_and_one_for_each_recipient_in_lmtp() -> None:
    taken, path = Taken(), return_path(uuid7())
    async with door(taken) as (smtp, lmtp):
        async with connected(smtp) as client:
            assert (await client.mail(b"not yet\r\n.\r\n", ABUSE, path)).startswith("451 4.3.0")
            assert (await client.mail(b"now\r\n.\r\n", ABUSE, path, path)).startswith("250 2.0.0")
            assert [claim is None for _, claim, _ in taken.mails[1:]] == [True, False]  # the same one twice is one
        async with connected(lmtp) as client:
            assert (await client.say("EHLO x")).startswith("500 5.5.1")
            first = await client.mail(b"not yet\r\n.\r\n", ABUSE, path, POSTMASTER, path, hello="LHLO x")
            replies = [first, *[await client.reply() for _ in range(3)]]
            assert [each[:3] for each in replies] == ["250", "451", "250", "451"]
            assert taken.mails[-1][0] == "lmtp"


async def test_sessions_and_mails_are_capped_overall_and_by_address() -> None:
    taken = Taken()
    async with door(taken, Most(2, 20, 1_000, 1 << 24)) as (port, _):
        async with connected(port), connected(port), connected(port, "421 4.3.2") as third:
            assert await third.reply() == ""

        async def free() -> bool:
            async with connected(port):
                return True

        await eventually(free)
    of_one = Most(20, 1, 2, 1 << 24)
    async with door(taken, of_one) as (port, _), connected(port) as client, connected(port, "421 4.7.0"):
        for _ in range(2):
            assert (await client.mail(b".\r\n")).startswith("250 ")
        assert (await client.say("MAIL FROM:<>")).startswith("451 4.7.1")
    async with door(taken, of_one, trusted="127.0.0.0/8") as (port, _), connected(port) as client, connected(port):
        for _ in range(4):
            assert (await client.mail(b".\r\n")).startswith("250 ")


async def test_more_is_not_taken_in_hand_than_there_is_room_for() -> None:
    taken = Taken()
    async with door(taken, MOST._replace(in_hand=100_000)) as (port, _), connected(port) as one, connected(port) as two:
        taken.open.clear()
        await one.begin(ABUSE)
        one.writer.write(b"x" * 150_000 + b"\r\n.\r\n")

        async def full() -> bool:
            for line in ("EHLO x", "MAIL FROM:<>", f"RCPT TO:<{ABUSE}>"):
                await two.say(line)
            return (await two.say("DATA")).startswith("452 4.3.1")

        await eventually(full)
        taken.open.set()
        assert (await one.reply()).startswith("250 ")
        assert (await two.mail(b".\r\n")).startswith("250 ")


async def test_a_session_ends_when_it_is_silent_or_lasts_too_long_but_not_before_its_mail_is_answered() -> None:
    taken = Taken()
    hasty = Manners("x", most=600_000, kept=300_000, idle=0.3, whole=60)
    async with door(taken, manners=hasty) as (port, _), connected(port) as client:
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""
    short = Manners("x", most=600_000, kept=300_000, idle=30, whole=0.3)
    async with door(taken, manners=short) as (port, _), connected(port) as client:
        taken.open.clear()
        await client.begin(ABUSE)
        client.writer.write(b"x\r\n.\r\n")
        asyncio.get_running_loop().call_later(0.5, taken.open.set)
        assert (await client.reply()).startswith("250 ")
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""


async def test_who_stops_answers_what_is_in_hand_and_says_goodbye_to_the_others() -> None:
    taken = Taken()
    async with door(taken) as (port, _):
        first, second = [Client(*await asyncio.open_connection(HOST, port)) for _ in range(2)]
        for each in (first, second):
            await each.reply()
        taken.open.clear()
        await first.begin(ABUSE)
        first.writer.write(b"x\r\n.\r\n")
        await taken.begun.wait()
        asyncio.get_running_loop().call_later(0.2, taken.open.set)
    assert (await second.reply()).startswith("421 4.3.2")
    assert (await first.reply()).startswith("250 ")
    for each in (first, second):
        each.writer.transport.abort()


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    told = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address(HOST))])
    made = (
        x509.CertificateBuilder(told, told, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return chain, private


async def test_starttls_by_the_certificate_of_now_and_nothing_said_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bounce_ingest.smtp.certificate.LOOK_EVERY", 0.05)
    with pytest.raises(Unavailable, match="TLS_CERTIFICATE"):
        Certificate(tmp_path / "none.pem", tmp_path / "none.pem")
    certificate = Certificate(*write_certificate(tmp_path, "old.test"))
    manners = Manners("x", most=600_000, kept=300_000, idle=30, whole=60, tls=certificate.context)
    taken = Taken()
    write_certificate(tmp_path, "new.test")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "chain.pem"))
    async with background(certificate.follow()), door(taken, manners=manners) as (port, _):

        async def is_new() -> bool:
            async with connected(port) as client:
                assert (await client.say("EHLO x")).startswith("250 ")
                # What is smuggled in behind STARTTLS must not be taken for a part of the session under TLS.
                client.writer.write(b"STARTTLS\r\nNOOP smuggled\r\n")
                assert (await client.reply()).startswith("220 ")
                try:
                    await client.writer.start_tls(trusting, server_hostname="new.test")
                except ssl.SSLError as error:
                    raise AssertionError from error
                assert (await client.say("MAIL FROM:<>")).startswith("503")  # the hello before TLS is forgotten
                return (await client.mail(b"x\r\n.\r\n")).startswith("250 ")

        await eventually(is_new)
    assert taken.contents == [b"x\r\n"]
