"""The pool: connections are used again while they are sound, closed with QUIT, shared fairly, and never too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from math import inf

import pytest

from sender import smtp
from sender.outcome import Reply, Unreachable
from sender.routing.rests import Rests
from sender.smtp import Envelope, Failed, Hop, Limits, Pool, Timeouts
from tests.conftest import eventually
from tests.smtp_servers import HOST, IN_TURN, Deed, Say, Script, Server, serving

CONTEXTS = smtp.contexts()
LIMITS = Limits(connections=2, overall=4, idle=60, messages=100)
PATIENT = Timeouts().at_most(10)
CONTENT = b"Subject: hello\r\n\r\nhello\r\n"
ANN = Envelope("b+1@bounces.example", "ann@example.org", len(CONTENT))
VERBS = ["MAIL", "RCPT", "DATA"]


@asynccontextmanager
async def pool(limits: Limits = LIMITS, timeouts: Timeouts = PATIENT) -> AsyncIterator[Pool]:
    async with smtp.pooling(smtp.Opener("sender.example", timeouts, CONTEXTS), limits, Rests()) as opened:
        yield opened


def route(server: Server) -> Hop:
    return Hop(HOST, server.port)


async def send(pool: Pool, to: Hop) -> int:
    """The code of the answer to a message."""
    async with pool.transaction([to]) as transaction:
        await transaction.envelope(ANN)
        return (await transaction.message(CONTENT, inf)).code


async def test_a_connection_is_used_again_and_closed_with_quit() -> None:
    async with serving() as server:
        async with pool() as opened:
            assert [await send(opened, route(server)) for _ in range(3)] == [250] * 3
        await server.visits[0].end()
    assert [visit.verbs for visit in server.visits] == [["EHLO", *VERBS * 3, "QUIT"]]


async def test_a_connection_ends_after_so_many_messages() -> None:
    async with serving() as server, pool(replace(LIMITS, messages=2)) as opened:
        for _ in range(5):
            await send(opened, route(server))
        assert [visit.verbs.count("MAIL") for visit in server.visits] == [2, 2, 1]
        for visit in server.visits[:2]:
            await visit.end()
            assert visit.verbs[-1] == "QUIT"


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with serving() as server, pool(replace(LIMITS, idle=0.05)) as opened:
        for _ in range(2):
            await asyncio.gather(*(send(opened, route(server)) for _ in range(2)))
            for visit in server.visits:
                await visit.end()
    assert [visit.verbs[-1] for visit in server.visits] == ["QUIT"] * 4


@pytest.mark.parametrize("deed", [Deed.HANGS, Deed.STALLS, Deed.CLOSES, Deed.FLOODS, b"what?\r\n"], ids=str)
async def test_taking_leave_is_bounded(deed: Say) -> None:
    async with serving({"QUIT": deed}) as server:
        async with asyncio.timeout(5), pool(timeouts=replace(PATIENT, quit=0.1)) as opened:
            await asyncio.gather(*(send(opened, route(server)) for _ in range(2)))
        assert len(server.visits) == 2


DEATHS: dict[str, Script] = {
    "closed while idle": {"after": Deed.CLOSES},
    "closed at MAIL": {"MAIL": ("250 ok", Deed.CLOSES)},
    "421": {"MAIL": ("250 ok", "421 4.4.2 idle for too long"), "RCPT": ("250 ok", Deed.CLOSES)},
    "garbage": {"MAIL": ("250 ok", b"what?\r\n")},
}


@pytest.mark.parametrize("manner", [{}, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize("script", DEATHS.values(), ids=DEATHS)
async def test_a_reused_connection_that_is_dead_is_quietly_replaced(manner: Script, script: Script) -> None:
    async with serving({**manner, **script}, {}) as server, pool() as opened:
        assert [await send(opened, route(server)) for _ in range(2)] == [250, 250]
    assert [len(visit.messages) for visit in server.visits] == [1, 1]


@pytest.mark.parametrize("manner", [{}, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize("said", ["421 4.4.2 leaving", "500 what is RSET", Deed.CLOSES], ids=str)
async def test_a_connection_that_cannot_be_reset_is_replaced(manner: Script, said: Say) -> None:
    async with serving({**manner, "dot": "554 no", "RSET": said}, {}) as server, pool() as opened:
        with pytest.raises(Failed):
            await send(opened, route(server))
        assert await send(opened, route(server)) == 250
    assert len(server.visits) == 2


async def test_a_connection_is_replaced_once() -> None:
    dying: Script = {"MAIL": ("250 ok", Deed.CLOSES)}
    async with serving(dying, {"MAIL": Deed.CLOSES}) as server, pool() as opened:
        assert await send(opened, route(server)) == 250
        with pytest.raises(Failed) as failed:
            await send(opened, route(server))
        assert isinstance(failed.value.result, Unreachable)
        assert len(server.visits) == 2


async def test_a_replacement_may_be_refused() -> None:
    script: Script = {"MAIL": ("250 ok", Deed.CLOSES)}
    async with serving(script, {"greeting": "421 too many"}, {}) as server, pool(replace(LIMITS, overall=1)) as opened:
        assert await send(opened, route(server)) == 250
        with pytest.raises(Failed) as failed:
            await send(opened, route(server))
        assert failed.value.result == Reply("connect", 421, "too many", route(server).name, HOST)
        assert await send(opened, route(server)) == 250


async def test_a_reused_connection_that_hangs_is_not_replaced() -> None:
    script: Script = {"MAIL": ("250 ok", Deed.HANGS)}
    async with serving(script, {}) as server, pool(timeouts=replace(PATIENT, mail=0.1)) as opened:
        assert await send(opened, route(server)) == 250
        with pytest.raises(Failed) as failed:
            await send(opened, route(server))
        assert isinstance(failed.value.result, Unreachable)


@pytest.mark.parametrize("more", [b"250 and more\r\n", b"2", b"421 leaving\r\n", b"\0", b"\r\n", b"250 ok\r\n" * 1000])
async def test_a_server_that_says_more_than_it_was_asked_is_not_used_again(more: bytes) -> None:
    async with serving({"dot": b"250 taken\r\n" + more}) as server, pool() as opened:
        assert [await send(opened, route(server)) for _ in range(2)] == [250, 250]
    assert [len(visit.messages) for visit in server.visits] == [1, 1]


async def test_a_route_has_no_more_connections_than_its_limit() -> None:
    async with serving() as server, pool(replace(LIMITS, messages=3)) as opened:
        assert await asyncio.gather(*(send(opened, route(server)) for _ in range(40))) == [250] * 40
        assert server.most_open == 2


async def test_all_routes_together_have_no_more_than_the_limit() -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving()) for _ in range(4)]
        opened = await stack.enter_async_context(pool(replace(LIMITS, overall=2)))
        sent = await asyncio.gather(*(send(opened, route(server)) for server in servers * 10))
        assert sent == [250] * 40
        assert all(server.messages for server in servers)

        async def two_are_left() -> bool:
            return sum(server.open for server in servers) == 2

        await eventually(two_are_left)


async def test_a_hanging_route_holds_up_no_other() -> None:
    async with serving({"MAIL": Deed.HANGS}) as hanging, serving() as sound, pool() as opened:
        stuck = [asyncio.create_task(send(opened, route(hanging))) for _ in range(20)]
        async with asyncio.timeout(10):
            assert await asyncio.gather(*(send(opened, route(sound)) for _ in range(20))) == [250] * 20
        assert len(hanging.visits) == 2
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_server_that_is_slow_to_part_holds_up_itself_alone() -> None:
    limits = Limits(connections=1, overall=1, idle=60, messages=1)
    async with (
        serving({"QUIT": Deed.HANGS}) as slow,
        serving() as sound,
        pool(limits, replace(PATIENT, quit=0.3)) as opened,
    ):
        first = asyncio.create_task(send(opened, route(slow)))
        again = asyncio.create_task(send(opened, route(slow)))
        await first
        await send(opened, route(sound))
        assert slow.open == 1
        assert not again.done()
        assert await again == 250
        assert slow.most_open == 1


async def test_a_cancelled_waiter_holds_up_nobody() -> None:
    async with serving({"MAIL": Deed.HANGS}, {}) as server, pool(replace(LIMITS, connections=1)) as opened:
        first, second, third = (asyncio.create_task(send(opened, route(server))) for _ in range(3))

        async def under_way() -> bool:
            return bool(server.visits) and "MAIL" in server.visits[0].verbs

        await eventually(under_way)
        second.cancel()
        first.cancel()
        assert await third == 250


async def test_a_closed_pool_opens_nothing() -> None:
    async with serving() as server:
        async with pool() as opened:
            pass
        with pytest.raises(RuntimeError):
            await send(opened, route(server))
        assert server.visits == []


async def fail_after(opened: AbstractAsyncContextManager[Pool], to: Hop) -> None:
    async with opened as own:
        await send(own, to)
        raise KeyError


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    async with serving() as server:
        with pytest.raises(KeyError):
            await fail_after(opened=pool(), to=route(server))
        await server.visits[0].end()
