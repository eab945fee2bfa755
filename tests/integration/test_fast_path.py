"""Who asks plainly is answered as aiohttp answers, but sooner; all else is aiohttp's, on the same connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from uuid_utils.compat import uuid7

from local_stack.stack import HOST
from status_store import housekeeping, messages
from status_store.api import api
from status_store.fast_path import PATIENCE, Read, fast_path
from status_store.point import Point
from status_store.queries import Queries
from status_store.record import record
from status_store.store import Store
from tests.conftest import DEADLINE, KEYRING, eventually
from tests.integration.test_query_api import ALL, CLIENTS, OTHER, SENDER, SHOP, returned
from tests.unit.samples import MESSAGE
from tracepost import http, keys, partitions, postgres

KEYS = keys.read(json.dumps(CLIENTS), KEYRING)
FOUND = Point("shop", 3, "Read", '{"message_id":"x"}', {})


def get(target: object, key: str = SHOP, *further: str, method: str = "GET") -> bytes:
    lines = (f"{method} /v1/{target} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *further)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


ASKED, LIST = get(f"messages/{MESSAGE}"), get("messages?limit=1")
TARGET = ASKED.split()[1]


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, asked: bytes) -> tuple[str, bytes]:
        """The answer's head, without what is of the moment, and its body."""
        self.writer.write(asked)
        return await self.answer(body=not asked.startswith(b"HEAD"))

    async def answer(self, *, body: bool = True) -> tuple[str, bytes]:
        async with asyncio.timeout(10):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            told = dict(line.split(": ") for line in lines)
            assert told.pop("Date").endswith(" GMT")
            length = int(told.get("Content-Length", 0)) if body else 0
            return "\n".join([first, *sorted(f"{name}: {value}" for name, value in told.items())]), (
                await self.reader.readexactly(length)
            )

    async def ended(self) -> bool:
        """Whether the server has closed it, with nothing more to say."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@dataclass
class Served:
    """An API of messages; `passed_on`: how many connections became aiohttp's."""

    port: int
    passed_on: list[asyncio.Protocol]
    stack: AsyncExitStack

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        self.stack.callback(writer.close)
        return Client(reader, writer)


@asynccontextmanager
async def serving(read: Read, app: web.Application, patience: float = PATIENCE) -> AsyncIterator[Served]:
    passed_on: list[asyncio.Protocol] = []
    async with AsyncExitStack() as clients, http.answering(app) as ordinary:

        def noted() -> asyncio.Protocol:
            passed_on.append(ordinary())
            return passed_on[-1]

        async with fast_path(read, KEYS, noted, patience) as protocol, http.listening(protocol, HOST, 0) as port:
            yield Served(port, passed_on, clients)


@dataclass
class Reads:
    """Reads that are answered when a test says so."""

    waiting: list[asyncio.Future[Point | None]] = field(default_factory=list)

    def __call__(self, _: str) -> asyncio.Future[Point | None]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def next(self, within: float = DEADLINE) -> asyncio.Future[Point | None]:
        async def asked() -> bool:
            return bool(self.waiting)

        await eventually(asked, within)
        return self.waiting.pop(0)


def other() -> web.Application:
    """Answers every request with its target."""

    async def told(request: web.Request) -> web.Response:
        return web.Response(text=request.path_qs)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", told)
    return app


@pytest.fixture
async def queries(database: str) -> AsyncIterator[Queries]:
    async with postgres.connected(database, "status_store") as pool:
        queries = Queries(pool)
        async with queries.running():
            yield queries


async def test_it_answers_as_aiohttp_does(queries: Queries) -> None:
    store = Store(queries._pool, retention=13, keyring=KEYRING)
    await partitions.keep(store.pool, housekeeping.TABLES, store.months)
    message_id = uuid7()
    await record(store, returned(message_id))
    app = api((), *messages.routes(queries, KEYS))
    async with serving(queries.point, app) as quick, http.serving(app, HOST, 0) as port:
        ordinary = Served(port, [], quick.stack)
        one, same = await quick.client(), await ordinary.client()
        for asked in (get(f"messages/{message_id}"), get(f"messages/{message_id}", ALL, 'If-None-Match: "1"')):
            assert await one.ask(asked) == await same.ask(asked)
        assert not quick.passed_on
        for number, asked in enumerate(
            (
                get(f"messages/{message_id}", OTHER),
                get(f"messages/{message_id}", SENDER),
                get(f"messages/{message_id}", "none"),
                get(f"messages/{MESSAGE}"),
                get("messages/nonsense"),
                get(f"messages/{message_id}/events"),
                get(f"messages/{message_id}", SHOP, "Origin: https://desk.example.org"),
                get(f"messages/{message_id}", SHOP, method="HEAD"),
            ),
            1,
        ):
            one = await quick.client()
            assert await one.ask(asked) == await same.ask(asked)
            assert len(quick.passed_on) == number


async def test_what_is_not_plain_is_passed_on_for_good() -> None:
    reads = Reads()
    async with serving(reads, other()) as served:
        for number, pieces in enumerate(((ASKED[:20], ASKED[20:]), (ASKED + ASKED[:20], ASKED[20:]), (LIST, ASKED)), 1):

            async def passed_on(number: int = number) -> bool:
                return len(served.passed_on) == number

            client = await served.client()
            for each in pieces:
                client.writer.write(each)
                await eventually(passed_on)
            targets = [(await client.answer())[1] for _ in range(b"".join(pieces).count(b"GET"))]
            assert targets[1:] == [TARGET] * (len(targets) - 1)
            assert targets[0] == (LIST.split()[1] if LIST in pieces else TARGET)
            assert (await client.ask(ASKED))[1] == TARGET
            assert len(served.passed_on) == number
    assert not reads.waiting


@pytest.mark.parametrize(
    "fault", [None, OSError("away"), FOUND._replace(app="other"), FOUND._replace(shown_as="\ud800")]
)
async def test_what_has_no_good_answer_is_passed_on_with_all_that_follows(fault: Point | Exception | None) -> None:
    reads = Reads()
    async with serving(reads, other()) as served:
        client = await served.client()
        client.writer.write(ASKED)
        read = await reads.next()
        client.writer.write(get("changes"))
        if isinstance(fault, Exception):
            read.set_exception(fault)
        else:
            read.set_result(fault)
        assert [(await client.answer())[1] for _ in range(2)] == [TARGET, b"/v1/changes"]


async def test_who_does_not_wait_is_answered_in_order() -> None:
    reads = Reads()
    async with serving(reads, other()) as served:
        client = await served.client()
        for number in range(3):
            client.writer.write(ASKED)
            read = await reads.next()
            client.writer.write(get(f"messages/{MESSAGE}", SHOP, f'If-None-Match: "{number}"'))
            read.set_result(FOUND._replace(version=10 + number))
            (await reads.next()).set_result(FOUND._replace(version=number))
            heads = [(await client.answer())[0] for _ in range(2)]
            assert [head.split()[1] for head in heads] == ["200", "304"]
            assert [f'ETag: "{version}"' in head for version, head in zip((10 + number, number), heads, strict=True)]


async def test_a_client_that_takes_no_answers_is_not_read() -> None:
    reads, long = Reads(), FOUND._replace(row=json.dumps({"subject": "x" * 1_000_000}))
    async with serving(reads, other()) as served:
        client = await served.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        asked = await _while_read(client, reads, long)
        assert asked < 100
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(asked):
            assert len((await client.answer())[1]) > 1_000_000
        (await reads.next()).set_result(FOUND)
        assert (await client.answer())[1].startswith(b'{"message_id":"x"')


async def _while_read(client: Client, reads: Reads, answer: Point) -> int:
    """Ask and answer until what is asked is not read, or a hundred times; how many were answered."""
    for count in range(100):
        client.writer.write(ASKED)
        try:
            (await reads.next(within=0.5)).set_result(answer)
        except AssertionError:
            return count
    return 100


async def test_who_asks_nothing_for_long_is_cut_and_who_waits_for_an_answer_is_not() -> None:
    reads = Reads()
    async with serving(reads, other(), patience=0.3) as served:
        idle, asking = await served.client(), await served.client()
        asking.writer.write(ASKED)
        read = await reads.next()
        assert await idle.ended()
        read.set_result(FOUND)
        assert (await asking.answer())[1].startswith(b'{"message_id":"x"')
        assert await asking.ended()


async def test_a_read_for_a_client_that_is_gone_is_called_off() -> None:
    reads = Reads()
    async with serving(reads, other()) as served:
        client = await served.client()
        client.writer.write(ASKED)
        read = await reads.next()
        client.writer.transport.abort()

        async def off() -> bool:
            return read.cancelled()

        await eventually(off)


async def test_a_stop_answers_what_is_asked_and_closes_the_rest() -> None:
    reads = Reads()
    async with AsyncExitStack() as open_still:
        async with serving(reads, other()) as served:
            open_still.push_async_exit(served.stack.pop_all())
            idle, asking, faulty = [await served.client() for _ in range(3)]
            for client in (asking, faulty):
                client.writer.write(ASKED)
            read, fails = await reads.next(), await reads.next()
            loop = asyncio.get_running_loop()
            loop.call_later(0.2, read.set_result, FOUND)
            loop.call_later(0.2, fails.set_exception, OSError("away"))
        assert await idle.ended()
        assert (await asking.answer())[1].startswith(b'{"message_id":"x"')
        assert (await faulty.answer())[1] == TARGET
        for client in (asking, faulty):
            assert await client.ended()
            client.writer.close()
        idle.writer.close()
