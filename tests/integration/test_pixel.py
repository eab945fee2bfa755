"""The pixel against a real broker: the image always, the open confirmed before the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import aiohttp
from uuid_utils.compat import uuid7

from local_stack.processes import free_port
from pixel.app import service
from pixel.opens import GIF
from pixel.settings import PixelSettings
from tracepost import events, tokens, topology
from tracepost.events import Opened
from tracepost.tokens import TRACK_FULL, Keyring

THUNDERBIRD = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0"}


@asynccontextmanager
async def serving(amqp_url: str, token_keys: str) -> AsyncIterator[str]:
    port = free_port()
    settings = PixelSettings.model_validate(
        {"amqp_url": amqp_url, "token_keys": token_keys, "port": port, "answer_within": 1}
    )
    async with service(settings, {}):
        yield f"http://127.0.0.1:{port}"


async def test_valid_and_invalid_answers_are_alike_and_only_an_open_counts(
    broker: str, token_keys: str, keyring: Keyring
) -> None:
    message_id = uuid7()
    token = tokens.to_url(keyring.pixel(message_id, 3, TRACK_FULL))
    async with serving(broker, token_keys) as url, aiohttp.ClientSession(headers=THUNDERBIRD) as session:
        answers = []
        for name, headers in ((token, {}), (token[:-1] + "!", {}), ("x", {}), (token, {"Purpose": "prefetch"})):
            async with session.get(f"{url}/o/{name}.gif", headers=headers) as response:
                kept = {key: value for key, value in response.headers.items() if key != "Date"}
                answers.append((response.status, kept, await response.read()))
        async with session.head(f"{url}/o/{token}.gif") as response:
            assert response.status == 200
        async with session.get(f"{url}/else") as response:
            assert response.status == 404
    assert answers == [answers[0]] * 4
    assert answers[0][2] == GIF
    async with await aio_pika.connect(broker) as connection, connection.channel() as channel:
        queue = await channel.get_queue(topology.STATUS_STORE_EVENTS.name)
        first = await queue.get(no_ack=True)
        assert await queue.get(no_ack=True, fail=False) is None
    opened = events.decode(first.body)
    assert isinstance(opened.data, Opened)
    assert (opened.message_id, opened.recipient_no, opened.data.verdict) == (message_id, 3, "person")
    assert opened.data.ip == "127.0.0.0/24"


async def test_the_image_comes_without_a_broker_too(token_keys: str, keyring: Keyring) -> None:
    token = tokens.to_url(keyring.pixel(uuid7(), 0))
    async with (
        serving(f"amqp://guest:guest@127.0.0.1:{free_port()}/", token_keys) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/o/{token}.gif") as response,
    ):
        assert (response.status, await response.read()) == (200, GIF)
