"""The pixel against a real broker: the image always, the open safe before the answer, and none that is no open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from uuid_utils.compat import uuid7

from pixel.answers import GIF
from tests.conftest import eventually
from tests.pixels import NOWHERE, THUNDERBIRD, look, path, published, serving, spooled, verdicts
from tracepost import metrics, tokens
from tracepost.events import Opened
from tracepost.tokens import TRACK_DAY, Keyring

CURL, GMAIL = "curl/8.5.0", "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"


async def test_valid_and_invalid_answers_are_alike_and_only_an_open_counts(
    broker: str, token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    message_id = uuid7()
    token = tokens.to_url(keyring.pixel(message_id, 3))
    async with (
        serving(broker, token_keys, tmp_path) as url,
        aiohttp.ClientSession(headers={"User-Agent": THUNDERBIRD}) as session,
    ):
        answers = []
        for name, headers in ((token, {}), (token[:-1] + "!", {}), ("x", {}), (token, {"Purpose": "prefetch"})):
            async with session.get(f"{url}/o/{name}.gif", headers=headers) as response:
                kept = {key: value for key, value in response.headers.items() if key != "Date"}
                answers.append((response.status, kept, await response.read()))
        async with session.head(f"{url}/o/{token}.gif") as response:
            assert response.status == 200
        async with session.get(f"{url}/else") as response:
            assert (response.status, len(await response.read()) < 100) == (404, True)
    assert answers == [answers[0]] * 4
    assert answers[0][2] == GIF
    assert answers[0][1]["Content-Type"] == "image/gif"
    assert answers[0][1]["Cache-Control"] == "no-store, no-cache, must-revalidate, private, max-age=0"
    [opened] = await published(broker)
    assert isinstance(opened.data, Opened)
    assert (opened.message_id, opened.recipient_no, opened.data.verdict) == (message_id, 3, "person")
    assert opened.data.ip == "127.0.0.0/24"


@pytest.mark.parametrize(
    "own",
    [{"own_networks": "10.0.0.0/8,127.0.0.0/8"}, {"own_agents": "help-desk,thunderbird/128"}],
)
async def test_our_own_views_do_not_count(
    broker: str, token_keys: str, keyring: Keyring, tmp_path: Path, own: dict[str, Any]
) -> None:
    before = metrics.PIXELS.labels("own")._value.get()
    async with serving(broker, token_keys, tmp_path, **own) as url, aiohttp.ClientSession() as session:
        await look(session, url + path(keyring, uuid7()))
    assert await published(broker) == []
    assert metrics.PIXELS.labels("own")._value.get() == before + 1


async def test_a_flood_of_one_token_is_limited_and_hides_nobody(
    broker: str, token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    one, other = path(keyring, uuid7()), path(keyring, uuid7())
    async with serving(broker, token_keys, tmp_path) as url, aiohttp.ClientSession() as session:
        for _ in range(50):
            await look(session, url + one, CURL)
        for _ in range(12):
            await look(session, url + one)
        await look(session, url + one, GMAIL)
        await look(session, url + other, CURL)
    assert verdicts(await published(broker)) == ["bot"] * 11 + ["person"] * 10 + ["proxied"]


async def test_a_flood_of_invalid_tokens_never_reaches_the_broker(broker: str, token_keys: str, tmp_path: Path) -> None:
    forged = Keyring({1: b"another key".ljust(32)})
    async with serving(broker, token_keys, tmp_path) as url, aiohttp.ClientSession() as session:
        for _ in range(100):
            await look(session, url + path(forged, uuid7()))
    assert await published(broker) == []
    assert spooled(tmp_path) == []


async def test_without_a_broker_opens_wait_in_the_spool_and_go_out_with_the_same_ids(
    broker: str, token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    messages = [uuid7() for _ in range(30)]
    async with serving(NOWHERE, token_keys, tmp_path) as url, aiohttp.ClientSession() as session:
        for message_id in messages:
            await look(session, url + path(keyring, message_id))
        await look(session, url + path(keyring, messages[0], flags=TRACK_DAY))
    kept = spooled(tmp_path)
    assert [each.message_id for each in kept] == [*messages, messages[0]]
    async with serving(broker, token_keys, tmp_path):
        await eventually(lambda: _empty(tmp_path))
    assert sorted(await published(broker), key=lambda each: each.id) == sorted(kept, key=lambda each: each.id)


async def _empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def test_a_spool_that_cannot_be_written_costs_the_open_and_not_the_answer(
    token_keys: str, keyring: Keyring, tmp_path: Path
) -> None:
    lost = metrics.OPENS_LOST.labels("disk")._value
    before, folder = lost.get(), tmp_path / "spool"
    async with serving(NOWHERE, token_keys, folder) as url, aiohttp.ClientSession() as session:
        folder.rmdir()
        await look(session, url + path(keyring, uuid7()))
        assert lost.get() == before + 1
        folder.mkdir()
        await look(session, url + path(keyring, uuid7()))
    assert lost.get() == before + 1
    assert len(spooled(folder)) == 1


async def test_a_caller_without_an_image_gets_none(token_keys: str, tmp_path: Path) -> None:
    async with serving(NOWHERE, token_keys, tmp_path) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/o/x.gif", data=b"x" * 100) as response:
            assert (response.status, await response.read() == GIF) == (404, False)
        async with session.get(f"{url}/o/x.gif", headers={"Cookie": "x" * 50_000}) as response:
            assert response.status == 431
        async with session.get(f"{url}/o/{'x' * 5_000}.gif") as response:
            assert response.status == 414
