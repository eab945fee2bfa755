"""Following changes: pages, long poll, streams for many clients, and a badge that is live."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from status_store import following, live, views
from tests.conftest import KEYRING, eventually
from tests.running import ALL, OTHER, SHOP, Running, running
from tracepost.events import Accepted, AnyEvent, Delivered, Opened, event

MANY = 1_000


@pytest.fixture
async def service(broker: str, database: str) -> AsyncIterator[Running]:
    async with running(broker, database) as service:
        yield service


def accepted(message_id: UUID, app: str = "shop") -> AnyEvent:
    data = Accepted(
        recipient="ann@example.org",
        recipient_count=1,
        sender="s@example.org",
        subject_line="Hello",
        rfc_message_id="<x@example.org>",
        app=app,
        reference="T-1",
        track_opens="full",
        has_html=True,
        size=1,
    )
    return event("sender", message_id, 0, data)


def delivered(message_id: UUID) -> AnyEvent:
    return event("sender", message_id, 0, Delivered(origin="smtp"))


class Stream:
    """The events of a stream, read from a connection of its own."""

    def __init__(self, service: Running, path: str, key: str | None, last: str | None = None) -> None:
        self._host, _, self._root = service.url.removeprefix("http://").partition("/")
        self._path, self._key, self._last = path, key, last

    async def __aenter__(self) -> Stream:
        host, _, port = self._host.partition(":")
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, (host, int(port)))
        self._reader, self.writer = await asyncio.open_connection(sock=end)
        lines = [f"GET /{self._root}{self._path} HTTP/1.1", f"Host: {self._host}", "Accept: text/event-stream"]
        lines += [f"Authorization: Bearer {self._key}"] if self._key else []
        lines += [f"Last-Event-ID: {self._last}"] if self._last else []
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await self._reader.readuntil(b"retry: 2000\n\n\r\n")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def event(self) -> tuple[str, str, Any]:
        """Name, id and data of the next event."""
        fields = dict(line.split(": ", 1) for line in (await self._until(b"event: ")).splitlines())
        return fields["event"], fields["id"], json.loads(fields["data"])

    async def heartbeat(self) -> None:
        await self._reader.readuntil(b":\n\n")

    async def end(self) -> None:
        await self._reader.readuntil(b"0\r\n\r\n")

    async def _until(self, start: bytes) -> str:
        async with asyncio.timeout(20):
            await self._reader.readuntil(start)
            return (start + (await self._reader.readuntil(b"\n\n"))[:-2]).decode()


async def test_a_cursor_goes_on_where_it_was(service: Running) -> None:
    begin = (await service.ask("GET", "/changes"))["cursor"]
    ids = [uuid7() for _ in range(5)]
    await service.publish(*map(accepted, ids))
    seen: list[str] = []
    cursor = begin

    async def all_seen() -> bool:
        nonlocal cursor
        page = await service.ask("GET", "/changes", cursor=cursor, limit=2)
        assert len(page["changes"]) <= 2
        cursor = page["cursor"]
        seen.extend(each["message_id"] for each in page["changes"])
        return len(seen) >= len(ids)

    await eventually(all_seen)
    assert sorted(seen) == sorted(map(str, ids))
    assert (await service.ask("GET", "/changes", cursor=begin, key=OTHER))["changes"] == []
    again = await service.ask("GET", "/changes", cursor=begin, limit=500, key=ALL)
    assert [each["message_id"] for each in again["changes"]] == seen
    assert again["changes"][0].keys() == {
        *("cursor", "message_id", "version", "status", "reference", "app", "rollup"),
    }


async def test_who_waits_is_told_of_a_change_at_once(service: Running) -> None:
    cursor = (await service.ask("GET", "/changes"))["cursor"]
    waiting = asyncio.create_task(service.ask("GET", "/changes", cursor=cursor, wait=25))
    nothing = await service.ask("GET", "/changes", cursor=cursor, wait=0.2)
    assert nothing == {"changes": [], "cursor": cursor}
    assert not waiting.done()
    await service.publish(accepted(message_id := uuid7()))
    assert [each["message_id"] for each in (await waiting)["changes"]] == [str(message_id)]


async def test_a_cursor_whose_place_is_forgotten_says_so(service: Running, database: str) -> None:
    await service.publish(accepted(uuid7()))
    await eventually(partial(_numbered, service))
    await service.publish(delivered(uuid7()))
    await eventually(partial(_numbered, service, 2))
    connection = await asyncpg.connect(database)
    await connection.execute("DELETE FROM changes WHERE number <= (SELECT numbered FROM feed)")
    last = await connection.fetchval("SELECT numbered FROM feed")
    await connection.close()
    for cursor, status in ((str(last), 200), ("0", 200), (f"{last - 1}-1", 410), (str(last + 1), 410), ("x", 422)):
        assert (await service.answer("GET", "/changes", cursor=cursor))[0] == status, cursor


async def _numbered(service: Running, count: int = 1) -> bool:
    return len((await service.ask("GET", "/changes", cursor=0, key=ALL))["changes"]) >= count


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "HEARTBEAT_SECONDS", 0.1)
    first, second = uuid7(), uuid7()
    async with Stream(service, "/changes", SHOP) as stream:
        await stream.heartbeat()
        await service.publish(accepted(first))
        name, last, told = await stream.event()
        assert (name, told["message_id"], told["cursor"]) == ("change", str(first), last)
    await service.publish(accepted(second), accepted(uuid7(), app="other"))
    async with Stream(service, "/changes", SHOP, last) as stream:
        assert (await stream.event())[2]["message_id"] == str(second)
        await service.publish(delivered(first))
        _, _, told = await stream.event()
        assert (told["message_id"], told["status"]) == (str(first), "delivered")


async def test_a_thousand_clients_hear_of_a_change(service: Running) -> None:
    async with AsyncExitStack() as clients:
        streams = [await clients.enter_async_context(Stream(service, "/changes", SHOP)) for _ in range(MANY)]
        await service.publish(accepted(message_id := uuid7()))
        told = await asyncio.gather(*(each.event() for each in streams))
    assert {data["message_id"] for _, _, data in told} == {str(message_id)}


async def test_who_does_not_read_is_cut_and_the_others_go_on(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 20_000)
    cuts = 0

    def cut(request: Any) -> None:
        nonlocal cuts
        cuts += 1
        request.transport.abort()

    monkeypatch.setattr(following, "cut", cut)
    async with Stream(service, "/changes", SHOP) as slow, Stream(service, "/changes", SHOP) as quick:
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's can
        seen: list[str] = []

        async def read() -> None:
            while True:
                seen.append((await quick.event())[2]["message_id"])

        reading = asyncio.create_task(read())
        published = 0
        while not cuts:
            ids = [uuid7() for _ in range(200)]
            await asyncio.gather(*(service.publisher.publish(accepted(each)) for each in ids))
            published += len(ids)
            assert published < 100_000

        async def all_seen() -> bool:
            return len({*seen}) == published

        await eventually(all_seen, 30)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
    assert cuts == 1


async def test_a_badge_is_live_until_its_token_ends(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "HEARTBEAT_SECONDS", 0.3)
    await service.publish(accepted(message_id := uuid7()))
    path = f"/messages/{message_id}/badge/live?token="
    token = (await service.ask("POST", f"/messages/{message_id}/view-token"))["token"]
    async with Stream(service, path + token, None) as stream:
        assert (await stream.event())[2]["status"] == "queued"
        await service.publish(delivered(message_id))
        assert (await stream.event())[2]["status"] == "delivered"
        # What changes no status is no change of the feed; the badge tells of it all the same.
        await service.publish(event("pixel", message_id, 0, Opened(verdict="prefetched", rule="x")))
        _, version, told = await stream.event()
        assert (told["version"], version) == (3, "3")
        assert "prefetched" in [note["code"] for note in told["deliveries"][0]["notes"]]
    soon = KEYRING.seal("view", message_id.bytes, datetime.now(UTC) + timedelta(seconds=2))
    async with Stream(service, path + soon, None) as stream, asyncio.timeout(10):
        await stream.end()


async def test_streams_end_when_the_service_stops(broker: str, database: str) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(broker, database))
        async with Stream(service, "/changes", SHOP) as stream, asyncio.timeout(10):
            ending = asyncio.create_task(stream.end())
            await stack.aclose()
            await ending
