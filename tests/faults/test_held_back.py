"""The broker takes what is published but its answers are held back: nothing that waits for a confirm returns before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import aio_pika
import aiohttp
import aiosmtplib
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue
from uuid_utils.compat import uuid7

import bounce_ingest.app
from bounce_ingest.settings import BounceIngestSettings
from local_stack.processes import free_port
from local_stack.reports import Mail, complaint
from local_stack.stack import BOUNCE_DOMAIN, HOST
from tests.conftest import eventually, new_database, virtual_host
from tests.faults.load import ORIGINAL
from tests.faults.site import Site
from tests.pixels import look, path, serving, spooled
from tests.proxy import Proxy, proxied
from tracepost import tokens, topology
from tracepost.tokens import Keyring

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG, SHORT = 30.0, 1.0
OPENS = 100


@dataclass(frozen=True)
class Held:
    """A virtual host of its own, reached through a proxy by the service and directly by the test."""

    amqp_url: str
    proxy: Proxy
    queue: AbstractQueue

    async def published(self) -> bool:
        """Whether the broker has an event."""
        found = await self.queue.channel.declare_queue(self.queue.name, passive=True)
        return bool(found.declaration_result.message_count)

    async def hold(self) -> None:
        """From here on the broker hears the service, but not the other way round."""
        await self.queue.purge()
        self.proxy.answering.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def held(site: Site) -> AsyncIterator[Held]:
    async with (
        virtual_host(site.stack.servers) as url,
        proxied(url) as (through, proxy),
        await aio_pika.connect(url) as connection,
        connection.channel() as channel,
    ):
        yield Held(through, proxy, await channel.get_queue(topology.STATUS_STORE_EVENTS.name))


async def waits_for_the_confirm(answer: asyncio.Task[float], held: Held) -> None:
    """The broker has the event, nobody knows it, and so there is no answer; then it is told, and there is one."""
    await eventually(held.published)
    assert not answer.done()
    held.proxy.answering.set()
    assert await answer < LONG / 2


async def test_the_pixel_answers_after_the_confirm(
    held: Held, token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    async with serving(held.amqp_url, token_keys, tmp_path, answer_within=LONG) as url:
        await opened(url, keyring)
        await held.hold()
        await waits_for_the_confirm(asyncio.create_task(opened(url, keyring)), held)


async def test_no_answer_of_the_pixel_leaves_before_its_limit_and_what_left_then_is_in_the_spool(
    held: Held, token_keys: str, keyring: Keyring, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    async with serving(held.amqp_url, token_keys, tmp_path) as url:
        await opened(url, keyring)
        await held.hold()
        messages = [uuid7() for _ in range(OPENS)]
        opening = (opened(url, keyring, each, number * 0.01) for number, each in enumerate(messages))
        waits = sorted(await asyncio.gather(*opening))
        kept = {each.message_id for each in spooled(tmp_path)}
        held.proxy.answering.set()
    tell(f"of {OPENS} answers the first after {waits[0] * 1e3:.0f} ms, the last after {waits[-1] * 1e3:.0f} ms")
    assert waits[0] >= 0.2
    assert waits[-1] < LONG
    assert kept == set(messages)


async def opened(url: str, keyring: Keyring, message_id: UUID | None = None, after: float = 0) -> float:
    """Load an image; answers the seconds that it took."""
    await asyncio.sleep(after)
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        await look(session, url + path(keyring, message_id or uuid7()))
    return time.monotonic() - began


async def test_bounce_ingest_answers_after_the_confirm(
    site: Site, held: Held, token_keys: str, keyring: Keyring
) -> None:
    async with bounce_ingest_with(site, held, token_keys, LONG) as port:
        await handed_in(port, keyring)
        await held.hold()
        await waits_for_the_confirm(asyncio.create_task(handed_in(port, keyring)), held)


async def test_bounce_ingest_answers_451_at_its_limit(
    site: Site, held: Held, token_keys: str, keyring: Keyring
) -> None:
    async with bounce_ingest_with(site, held, token_keys, SHORT) as port:
        await handed_in(port, keyring)
        await held.hold()
        began = time.monotonic()
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await handed_in(port, keyring)
        assert refused.value.code == 451
        assert SHORT <= time.monotonic() - began < LONG
        held.proxy.answering.set()


@asynccontextmanager
async def bounce_ingest_with(site: Site, held: Held, token_keys: str, limit: float) -> AsyncIterator[int]:
    port = free_port()
    told = {"amqp_url": held.amqp_url, "token_keys": token_keys, "smtp_port": port, "confirm_within": limit}
    told |= {"bounce_domain": BOUNCE_DOMAIN, "api_port": free_port()}
    async with new_database(site.stack.servers) as database:
        settings = BounceIngestSettings.model_validate({**told, "database_url": database})
        async with bounce_ingest.app.service(settings, {}):
            yield port


async def handed_in(port: int, keyring: Keyring) -> float:
    """Hand in a complaint; answers the seconds until 250."""
    recipient = "r@example.test"
    path = f"{tokens.to_local_part(keyring.return_path(uuid7(), 0, recipient))}@{BOUNCE_DOMAIN}"
    began = time.monotonic()
    async with aiosmtplib.SMTP(hostname=HOST, port=port, start_tls=False, timeout=LONG) as client:
        await client.sendmail("", [path], complaint(Mail(path, recipient, ORIGINAL)))
    return time.monotonic() - began
