"""Many clients, slow ones and rude ones: whoever asks properly gets the image."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from uuid_utils.compat import uuid7
from yarl import URL

from local_stack.stack import HOST
from pixel.answers import GIF, Kind
from pixel.http1 import Request, serving
from tests.conftest import eventually
from tests.pixels import NOWHERE, look, path, started
from tracepost.tokens import Keyring

IDLE = 10_000
GET = b"GET /o/x.gif HTTP/1.1\r\nHost: x\r\n\r\n"


def at_once(_: Request, answer: Callable[[Kind], None]) -> None:
    answer("pixel")


@asynccontextmanager
async def pixel(most: int = IDLE, patience: float = 30) -> AsyncIterator[int]:
    async with serving(at_once, (HOST, 0), most=most, patience=patience) as port:
        yield port


async def served(port: int) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/o/x.gif") as response:
        assert (response.status, await response.read()) == (200, GIF)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends."""
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("most", [IDLE + 100, IDLE // 2])
async def test_ten_thousand_idle_connections_do_not_stop_answers(
    token_keys: str, keyring: Keyring, tmp_path: Path, most: int
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 500:
        pytest.skip(f"a process may open {hard} files only; raise it: ulimit -Hn {IDLE + 500}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with (
        started(NOWHERE, token_keys, tmp_path, MOST_CONNECTIONS=most) as pixel,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        with ExitStack() as sockets:
            for number in range(IDLE):
                client = sockets.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex((HOST, URL(pixel.url).port))
                if number % 1000 == 0:
                    await look(session, pixel.url + path(keyring, uuid7()))
            await look(session, pixel.url + path(keyring, uuid7()))
        cut = await pixel.counted('tracepost_pixel_connections_cut_total{reason="too many"}')
    assert cut == 0 if most > IDLE else cut > IDLE - most


async def test_clients_that_take_too_long_are_cut() -> None:
    async with pixel(patience=0.3) as port:
        for sent in (b"", b"GET /o/x", GET[:-2], b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(sent)
            assert await ended(reader) == b""
            writer.close()


async def test_dripping_bytes_does_not_buy_time() -> None:
    async with pixel(patience=0.3) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        ending = asyncio.create_task(ended(reader))
        for byte in b"GET /o/x.gif HTTP/1.1\r\n" + b"a: b\r\n" * 1000:
            writer.write(bytes([byte]))
            await asyncio.wait([ending], timeout=0.02)
            if ending.done():
                break
        assert ending.done()
        writer.close()


async def test_who_goes_on_asking_is_not_cut() -> None:
    async with pixel(patience=0.5) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(12):
            writer.write(GET)
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                await reader.readexactly(len(GIF))
            await asyncio.sleep(0.1)
        writer.close()


async def test_a_client_that_reads_nothing_is_cut_and_takes_no_memory() -> None:
    async with pixel(patience=0.5) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (HOST, port))
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await asyncio.wait_for(_ask_for_ever(client), timeout=20)
        await served(port)


async def _ask_for_ever(client: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, GET * 100)


async def test_the_one_that_has_waited_longest_makes_room() -> None:
    async with pixel(most=2) as port:
        first, second = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        first[1].write(GET)
        await first[0].readexactly(len(GIF))

        async def third() -> bool:
            await served(port)
            return True

        await eventually(third)
        assert await ended(second[0]) == b""
        first[1].write(GET)
        assert await first[0].readexactly(len(GIF))
        for _, writer in (first, second):
            writer.close()


async def test_who_comes_when_all_are_being_served_is_sent_away() -> None:
    answers: list[Callable[[Kind], None]] = []
    async with serving(lambda _, answer: answers.append(answer), (HOST, 0), most=1, patience=30) as port:
        served = await asyncio.open_connection(HOST, port)
        served[1].write(GET)

        async def asked() -> bool:
            return bool(answers)

        await eventually(asked)
        late = await asyncio.open_connection(HOST, port)
        assert await ended(late[0]) == b""
        answers[0]("pixel")
        assert await served[0].readexactly(len(GIF))
        for _, writer in (served, late):
            writer.close()


async def test_a_stop_answers_what_is_asked_and_closes_the_rest() -> None:
    answers: list[Callable[[Kind], None]] = []
    async with serving(lambda _, answer: answers.append(answer), (HOST, 0), most=10, patience=30) as port:
        idle, asking = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        asking[1].write(GET)

        async def asked() -> bool:
            return bool(answers)

        await eventually(asked)
        asyncio.get_running_loop().call_later(0.3, answers[0], "pixel")
    assert await ended(idle[0]) == b""
    assert (await ended(asking[0])).endswith(b"Connection: close\r\n\r\n" + GIF)
    for _, writer in (idle, asking):
        writer.close()
