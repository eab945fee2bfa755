"""Load with known truth: publishes requests, plays the recipients, and writes down only what was confirmed to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import aiosmtplib
from aio_pika import Message

from local_stack.reports import Mail, complaint, returned
from local_stack.simulator import PERSON
from local_stack.stack import BOUNCE_DOMAIN, HOST, Stack
from tests.conftest import eventually
from tests.faults.ledger import BEHAVIOURS, Entry
from tests.faults.site import Site
from tracepost import tokens
from tracepost.broker import NotConfirmed, Publisher, Unroutable, publishing
from tracepost.runner import background
from tracepost.tokens import Keyring
from tracepost.topology import REQUESTS

ANSWERS = "faults.answers"
CONFIRM_SECONDS = 5.0
PAUSE = 0.25
ORIGINAL = b"From: support@tracepost.test\r\nMessage-ID: <x@tracepost.test>\r\n\r\nHello\r\n"
NO_REQUEST = b'{"subject": 7}'


@dataclass
class Load:
    """`rate` requests a second, of each behaviour in turn; with `bad`, every tenth time something that is none too."""

    stack: Stack
    keyring: Keyring
    publisher: Publisher
    session: aiohttp.ClientSession
    rate: float
    key: str
    bad: bool
    known: set[UUID]  # all that was ever published
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    entries: dict[UUID, Entry] = field(default_factory=dict)
    bad_sent: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def confirmed(self) -> int:
        """How many requests are."""
        return sum(entry.confirmed for entry in self.entries.values())

    async def generate(self) -> None:
        """Publish until `stopping`, then wait for the last confirms."""
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(itertools.cycle(BEHAVIOURS)):
                if self.stopping.is_set():
                    return
                entry = Entry(kind)
                self.entries[entry.message_id] = entry
                self.known.add(entry.message_id)
                group.create_task(self._publish(entry))
                if self.bad and number % 10 == 0:
                    group.create_task(self._publish_bad())
                await asyncio.sleep(1 / self.rate)

    async def _publish(self, entry: Entry) -> None:
        """As often as it takes, with the same id: whoever got no confirm cannot know."""
        while not await self._sent(json.dumps(self._request(entry)).encode()):
            entry.repeated += 1
        entry.confirmed = True

    async def _publish_bad(self) -> None:
        while not await self._sent(NO_REQUEST):
            pass
        self.bad_sent += 1

    async def _sent(self, body: bytes) -> bool:
        message = Message(body, content_type="application/json", user_id="guest", reply_to=ANSWERS)
        try:
            await self.publisher.send(message, REQUESTS, self.key)
        except (NotConfirmed, Unroutable):
            await asyncio.sleep(PAUSE)
            return False
        return True

    def _request(self, entry: Entry) -> dict[str, Any]:
        return {
            "message_id": str(entry.message_id),
            "from": "support@tracepost.test",
            "to": [entry.recipient],
            "subject": "Re: your question",
            "html": "<p>Here is the answer.</p>",
            "reference": self.reference(entry.kind),
        }

    def reference(self, kind: str) -> str:
        """By which the messages of this run and kind are listed."""
        return f"{self.run}-{kind}"

    async def play(self) -> None:
        """Once a mail is delivered, do what its recipient does; runs for ever."""
        begun: set[UUID] = set()
        acting = [kind for kind, behaviour in BEHAVIOURS.items() if behaviour.act != "nothing"]
        async with asyncio.TaskGroup() as group:
            while True:
                for kind in acting:
                    for message_id in await self._delivered(kind) - begun:
                        begun.add(message_id)
                        group.create_task(self._act(self.entries[message_id]))
                await asyncio.sleep(2 * PAUSE)

    async def _delivered(self, kind: str) -> set[UUID]:
        query = {"reference": self.reference(kind), "status": "delivered", "limit": "500"}
        try:
            async with self.session.get(f"{self.stack.query_url}/messages", params=query) as response:
                response.raise_for_status()
                return {UUID(each["message_id"]) for each in (await response.json())["messages"]}
        except (aiohttp.ClientError, TimeoutError):
            return set()

    async def _act(self, entry: Entry) -> None:
        """Do what its recipient does until it is confirmed, as mail servers do and people now and then."""
        while not await self.once(entry):
            entry.repeated += 1
            await asyncio.sleep(PAUSE)
        entry.acted = True

    async def once(self, entry: Entry) -> bool:
        """What its recipient does, done once; whether it was confirmed."""
        return await (self._open if entry.behaviour.act == "open" else self._report)(entry)

    async def acted(self, kind: str) -> Entry:
        """An entry of this kind whose recipient has done what they do."""

        async def found() -> Entry | None:
            return next((each for each in self.entries.values() if each.kind == kind and each.acted), None)

        entry = await eventually(found)
        assert entry
        return entry

    async def _open(self, entry: Entry) -> bool:
        url = self.stack.environment["TRACEPOST_SENDER_PIXEL_URL"]
        token = tokens.to_url(self.keyring.pixel(entry.message_id, 0))
        try:
            async with self.session.get(f"{url}/o/{token}.gif", headers={"User-Agent": PERSON.user_agent}) as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True

    async def _report(self, entry: Entry) -> bool:
        path = tokens.to_local_part(self.keyring.return_path(entry.message_id, 0, entry.recipient))
        return_path = f"{path}@{BOUNCE_DOMAIN}"
        mail = Mail(return_path, entry.recipient, ORIGINAL)
        report = returned(mail) if entry.behaviour.act == "return" else complaint(mail)
        port = int(self.stack.environment["TRACEPOST_BOUNCE_INGEST_SMTP_PORT"])
        client = aiosmtplib.SMTP(hostname=HOST, port=port, local_hostname=HOST, start_tls=False, timeout=15)
        try:
            async with client:
                await client.sendmail("", [return_path], report)
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            return False
        finally:
            client.close()
        return True


@asynccontextmanager
async def loading(site: Site, *, rate: float, key: str = "send.normal", bad: bool = False) -> AsyncIterator[Load]:
    """Publish until the load is told to stop, play the recipients until the block ends."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        publishing(site.node.broker.amqp_url, timeout=CONFIRM_SECONDS) as publisher,
    ):
        load = Load(site.stack, site.keyring, publisher, session, rate, key, bad, site.known)
        async with background(load.play()), asyncio.TaskGroup() as group:
            group.create_task(load.generate())
            try:
                yield load
            finally:
                load.stopping.set()
