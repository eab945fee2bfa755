"""A mail server that plays the recipients' side: what it does with a mail is the recipient's local part."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any

import aiohttp
import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope, Session

from local_stack.reports import HOST, delivery_report, feedback_report

MAIL_CLIENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0"

_IMAGE = re.compile(r'<img[^>]+src="(http[^"]+/o/[^"]+)"')


@dataclass(frozen=True, slots=True)
class Mail:
    """What was accepted, and for whom."""

    return_path: str
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class World:
    """Where mail that goes back is sent to."""

    return_host: str
    return_port: int


Afterwards = Callable[[World, Mail], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The answers to RCPT and to the final dot, and what happens after the mail was accepted."""

    at_rcpt: str = "250 2.1.5 OK"
    at_data: str = "250 2.0.0 OK: queued"
    afterwards: Afterwards | None = None


async def load_pixel(_: World, mail: Mail) -> None:
    """Open the mail as a person's mail client does."""
    for part in message_from_bytes(mail.content).walk():
        if part.get_content_type() == "text/html":
            html = part.get_payload(decode=True)
            assert isinstance(html, bytes)
            async with aiohttp.ClientSession(headers={"User-Agent": MAIL_CLIENT}) as session:
                for url in _IMAGE.findall(html.decode()):
                    async with session.get(url) as response:
                        await response.read()


async def send_back(world: World, mail: Mail) -> None:
    """Find out late that there is no such user, and say so to the return path."""
    reply = f"550 5.1.1 <{mail.recipient}>: Recipient address rejected: User unknown in local recipient table"
    await _return(world, mail, delivery_report(mail.content, mail.return_path, mail.recipient, "5.1.1", reply))


async def complain(world: World, mail: Mail) -> None:
    """Report the mail as spam."""
    await _return(world, mail, feedback_report(mail.content, mail.return_path, mail.recipient))


async def _return(world: World, mail: Mail, report: bytes) -> None:
    client = aiosmtplib.SMTP(hostname=world.return_host, port=world.return_port, local_hostname=HOST, start_tls=False)
    async with client:
        await client.sendmail("", [mail.return_path], report)


BEHAVIOURS = {
    "delivered": Behaviour(),
    "read": Behaviour(afterwards=load_pixel),
    "unknown-user": Behaviour(at_rcpt="550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table"),
    "spam": Behaviour(at_data="554 5.7.1 Message rejected: its content was classified as spam"),
    "returned": Behaviour(afterwards=send_back),
    "complains": Behaviour(afterwards=complain),
}
NO_BEHAVIOUR = Behaviour(at_rcpt=f"550 5.1.1 No such user: the simulator knows {', '.join(BEHAVIOURS)}")


def behaviour(address: str) -> Behaviour:
    """By the local part up to a `+`; a tag keeps the runs of a test apart."""
    return BEHAVIOURS.get(address.partition("@")[0].partition("+")[0].lower(), NO_BEHAVIOUR)


class Mailbox:
    """The handler of aiosmtpd."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.tasks: set[asyncio.Task[None]] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """As the recipient's server answers."""
        answer = behaviour(address).at_rcpt
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """As the first recipient's server answers: the sender makes a copy for each."""
        acts = behaviour(envelope.rcpt_tos[0])
        if acts.at_data.startswith("250") and acts.afterwards:
            assert isinstance(envelope.content, bytes)
            mail = Mail(str(envelope.mail_from), envelope.rcpt_tos[0], envelope.content)
            task = asyncio.create_task(acts.afterwards(self._world, mail))
            self.tasks.add(task)
            task.add_done_callback(self._ended)
        return acts.at_data

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"simulator: {error!r}", flush=True)


@asynccontextmanager
async def simulating(host: str, port: int, world: World) -> AsyncIterator[int]:
    """Listen until the block ends; yields the port."""
    mailbox = Mailbox(world)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, enable_SMTPUTF8=True, hostname=HOST, ident="Simulator", loop=loop), host, port
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in mailbox.tasks:
            task.cancel()
