"""A mail server that plays the recipients' side: what it does with a mail is the recipient's local part."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.parser import BytesHeaderParser
from enum import Enum
from functools import partial
from typing import NamedTuple, TypeVar

import aiohttp
import aiosmtplib
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from local_stack.reports import HOST, Mail, absence, complaint, returned
from tracepost import http

MOST_KEPT = 100_000  # mails and reactions
MOST_COUNTED = 10_000  # addresses whose attempts are counted
RETURN_WAITS = (0.5, 1, 2, 4, 8, 16, 32)  # seconds between attempts to send back

_IMAGE = re.compile(r'<img[^>]+src="(http[^"]+/o/[^"]+)"')

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class World:
    """Where mail that goes back is sent to."""

    return_host: str
    return_port: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the mailbox tells: a `mail` is a copy that was taken, another `kind` a reaction that reached its goal."""

    kind: str
    recipient: str
    rfc_message_id: str
    token: str
    time: str


@dataclass(frozen=True, slots=True)
class Loads:
    """The images are loaded by this user agent."""

    user_agent: str


@dataclass(frozen=True, slots=True)
class SendsBack:
    """A mail goes to the return path, the same one so many times; late enough that one sees the status before it."""

    kind: str
    make: Callable[[Mail], bytes]
    times: int = 1
    late: float = 0.0


Reaction = Loads | SendsBack


class Death(Enum):
    """The connection dies in place of the answer to the final dot."""

    BEFORE = "before the mail was taken"
    AFTER = "after the mail was taken"


TAKEN = "250 2.0.0 OK: queued"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The answers to RCPT and to the final dot, by attempt (the last one stays); reactions before and after the latter.

    `pace` is how many seconds pass between the pieces in which answers come.
    """

    at_rcpt: tuple[str, ...] = ("250 2.1.5 OK",)
    at_data: tuple[str | Death, ...] = (TAKEN,)
    first: tuple[Reaction, ...] = ()
    afterwards: tuple[Reaction, ...] = ()
    pace: float = 0.0


PERSON = Loads("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0")
GMAIL = Loads("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)")
PRIVACY_PROXY = Loads("Mozilla/5.0")
SCANNER = Loads("Barracuda Sentinel (EE)")
RETURNS = SendsBack("delivery-report", returned)
AWAY = SendsBack("auto-reply", absence)
COMPLAINS = SendsBack("feedback-report", complaint)

# docs/simulator.md tells users of each, with the status that it leads to.
BEHAVIOURS = {
    "delivered": Behaviour(),
    "slow": Behaviour(pace=0.3),
    "read": Behaviour(afterwards=(PERSON,)),
    "read-gmail": Behaviour(afterwards=(GMAIL,)),
    "prefetched": Behaviour(afterwards=(PRIVACY_PROXY,)),
    "scanned": Behaviour(afterwards=(SCANNER,)),
    "out-of-office": Behaviour(afterwards=(AWAY,)),
    "deferred": Behaviour(at_rcpt=("451 4.3.2 The server is too busy, try again later",)),
    "deferred-twice": Behaviour(at_rcpt=("451 4.7.1 Greylisted, come back later",) * 2 + ("250 2.1.5 OK",)),
    "dies-before": Behaviour(at_data=(Death.BEFORE, TAKEN)),
    "dies-after": Behaviour(at_data=(Death.AFTER, TAKEN)),
    "unknown-user": Behaviour(at_rcpt=("550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table",)),
    "unknown-domain": Behaviour(at_rcpt=("550 5.1.2 Recipient address rejected: Domain not found",)),
    "mailbox-full": Behaviour(at_rcpt=("552 5.2.2 The mailbox is over its quota",)),
    "blames-us": Behaviour(at_rcpt=("550 5.7.1 Refused by policy: your IP is listed at dnsbl.simulator.test",)),
    "spam": Behaviour(at_data=("554 5.7.1 Message rejected: its content was classified as spam",)),
    "returned": Behaviour(afterwards=(RETURNS,)),
    "returned-early": Behaviour(first=(RETURNS,)),
    "returned-twice": Behaviour(afterwards=(replace(RETURNS, times=2),)),
    "read-then-returned": Behaviour(afterwards=(PERSON, replace(RETURNS, late=1))),
    "forwarded-dead": Behaviour(
        afterwards=(replace(RETURNS, make=partial(returned, recipient="somebody@elsewhere.test")),)
    ),
    "complains": Behaviour(afterwards=(COMPLAINS,)),
    "complains-redacted": Behaviour(afterwards=(replace(COMPLAINS, make=partial(complaint, redacted=True)),)),
    "not-spam": Behaviour(afterwards=(COMPLAINS, replace(COMPLAINS, make=partial(complaint, kind="not-spam"), late=1))),
}
NO_BEHAVIOUR = Behaviour(at_rcpt=("550 5.1.1 User unknown: the simulator has no behaviour of this name",))


def behaviour(address: str) -> Behaviour:
    """By the local part up to a `+`; a tag keeps the runs of a test apart."""
    return BEHAVIOURS.get(address.partition("@")[0].partition("+")[0].lower(), NO_BEHAVIOUR)


def images(mail: Mail) -> list[str]:
    """The URLs of the pixels in it."""
    parts = message_from_bytes(mail.content).walk()
    texts = [part.get_payload(decode=True) for part in parts if part.get_content_type() == "text/html"]
    return [url for text in texts if isinstance(text, bytes) for url in _IMAGE.findall(text.decode())]


async def load(url: str, user_agent: str) -> None:
    """Load an image as a mail client does, or what stands between it and us."""
    async with aiohttp.request("GET", url, headers={"User-Agent": user_agent}, raise_for_status=True) as response:
        await response.read()


async def send_back(world: World, return_path: str, mail: bytes) -> None:
    """Send with a null sender, and again after a while if it is not taken, as mail servers do."""
    for wait in RETURN_WAITS:
        try:
            async with aiosmtplib.SMTP(
                hostname=world.return_host, port=world.return_port, local_hostname=HOST, start_tls=False
            ) as client:
                await client.sendmail("", [return_path], mail)
            return
        except (aiosmtplib.SMTPException, OSError) as error:
            print(f"simulator: {error!r}; tries again in {wait:g} s", flush=True)
            await asyncio.sleep(wait)
    raise TimeoutError("nobody takes what goes back")


class Mailbox:
    """The handler of aiosmtpd: answers, keeps what it took and reacts to it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turns: dict[tuple[str, str], int] = {}
        self.log: deque[Entry] = deque(maxlen=MOST_KEPT)
        self.forgotten = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """As the recipient's server answers."""
        acts = behaviour(address)
        answer = self._turn("RCPT", address, acts.at_rcpt)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        await _dribble(server, answer, acts.pace)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """As the first recipient's server answers: the sender makes a copy for each."""
        acts = behaviour(envelope.rcpt_tos[0])
        answer = self._turn("DATA", envelope.rcpt_tos[0], acts.at_data)
        if answer in (TAKEN, Death.AFTER):
            await self._take(envelope)
        if isinstance(answer, Death):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            return "421 4.4.2 nobody hears this"
        await _dribble(server, answer, acts.pace)
        return answer

    def _turn(self, command: str, address: str, answers: Sequence[Choice]) -> Choice:
        """The answer that is this address's turn; who is longest without an attempt is forgotten first."""
        if len(answers) == 1:
            return answers[0]
        key = command, address.lower()
        turn = self._turns.pop(key, 0)
        self._turns[key] = turn + 1
        if len(self._turns) > MOST_COUNTED:
            del self._turns[next(iter(self._turns))]
        return answers[min(turn, len(answers) - 1)]

    async def _take(self, envelope: Envelope) -> None:
        assert isinstance(envelope.content, bytes)
        head = BytesHeaderParser().parsebytes(envelope.content)
        told = head.get("Message-ID", ""), head.get("Tracepost-Token", "")
        for recipient in envelope.rcpt_tos:
            entry = Entry("mail", recipient, *told, _now())
            self._note(entry)
            mail = Mail(str(envelope.mail_from), recipient, envelope.content)
            acts = behaviour(recipient)
            await self._react(mail, entry, acts.first)
            task = asyncio.create_task(self._react(mail, entry, acts.afterwards))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _react(self, mail: Mail, entry: Entry, reactions: Sequence[Reaction]) -> None:
        try:
            for reaction in reactions:
                match reaction:
                    case Loads(user_agent):
                        for url in images(mail):
                            await load(url, user_agent)
                            self._note(replace(entry, kind="open", time=_now()))
                    case SendsBack(kind, make, times, late):
                        report = make(mail)
                        await asyncio.sleep(late)
                        for _ in range(times):
                            await send_back(self._world, mail.return_path, report)
                            self._note(replace(entry, kind=kind, time=_now()))
        except Exception as error:
            print(f"simulator: {error!r}", flush=True)

    def _note(self, entry: Entry) -> None:
        self.forgotten += len(self.log) == MOST_KEPT
        self.log.append(entry)


def _now() -> str:
    return datetime.now(UTC).isoformat()


async def _dribble(server: SMTP, answer: str, pace: float) -> None:
    """Let a continuation line of the answer come in pieces."""
    assert isinstance(server.transport, asyncio.Transport)
    for piece in (f"{answer[:3]}-", "one ", "moment ", "please\r\n") if pace else ():
        server.transport.write(piece.encode())
        await asyncio.sleep(pace)


def mailbox_api(mailbox: Mailbox) -> web.Application:
    """`GET /mailbox?recipient=…`: what was taken and what was done about it, oldest first; without a recipient, all."""

    async def look(request: web.Request) -> web.Response:
        asked = request.query.get("recipient", "").lower()
        found = [entry for entry in mailbox.log if asked in ("", entry.recipient.lower())]
        mails = [asdict(entry) for entry in found if entry.kind == "mail"]
        reactions = [asdict(entry) for entry in found if entry.kind != "mail"]
        return web.json_response({"mails": mails, "reactions": reactions, "forgotten": mailbox.forgotten})

    app = web.Application()
    app.router.add_get("/mailbox", look)
    return app


class Ports(NamedTuple):
    """Where the simulator listens."""

    smtp: int
    http: int


@asynccontextmanager
async def simulating(host: str, port: int, world: World, http_port: int = 0) -> AsyncIterator[Ports]:
    """Listen until the block ends; yields the ports."""
    mailbox = Mailbox(world)
    loop = asyncio.get_running_loop()
    async with http.serving(mailbox_api(mailbox), host, http_port) as serves:
        server = await loop.create_server(
            lambda: SMTP(mailbox, enable_SMTPUTF8=True, hostname=HOST, ident="Simulator", loop=loop), host, port
        )
        try:
            yield Ports(server.sockets[0].getsockname()[1], serves)
        finally:
            server.close()
            for task in mailbox.tasks:
                task.cancel()
