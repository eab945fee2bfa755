"""One SMTP connection without a network: what is still read when it ends, and which waits end when."""

from __future__ import annotations

import asyncio

import pytest

from sender.smtp.connection import Broken, Connection, Late


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


def made() -> tuple[Connection, Wire]:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    return connection, wire


async def test_a_whole_answer_before_the_end_is_still_read() -> None:
    connection, _ = made()
    connection.pause_writing()
    connection.data_received(b"552 5.3.4 too much\r\n25")
    connection.connection_lost(ConnectionResetError("reset by peer"))
    await connection.drained(1)
    assert (await connection.answer(1)).code == 552
    with pytest.raises(Broken, match="reset by peer"):
        await connection.answer(1)


@pytest.mark.parametrize("noise", [b"250 ok\r\nwhat?\r\n250 ok\r\n", b"250 ok\r\n\0\r\n"])
async def test_an_answer_before_garbage_is_read_and_none_behind_it(noise: bytes) -> None:
    connection, wire = made()
    connection.data_received(noise)
    connection.data_received(b"250 ok\r\n")
    assert wire.aborted
    assert (await connection.answer(1)).code == 250
    with pytest.raises(Broken, match="no SMTP reply"):
        await connection.answer(1)


async def test_a_broken_connection_takes_no_more() -> None:
    connection, wire = made()
    connection.eof_received()
    connection.write(b"NOOP\r\n")
    assert wire.written == []
    assert not connection.silent
    assert not connection.spoke


async def test_more_answers_than_questions_break_it() -> None:
    connection, wire = made()
    connection.data_received(b"250 ok\r\n" * 1000)
    assert wire.aborted


async def test_waiting_for_a_way_on_ends_with_room_or_words_or_time() -> None:
    connection, _ = made()
    loop = asyncio.get_running_loop()
    await connection.drained(0)
    connection.pause_writing()
    loop.call_soon(connection.resume_writing)
    await connection.drained(10)
    connection.pause_writing()
    loop.call_soon(connection.data_received, b"4")
    await connection.drained(10)
    connection.data_received(b"52 later\r\n")
    await connection.answer(10)
    with pytest.raises(Late, match=r"within 0.01 s"):
        await connection.drained(0.01)


async def test_each_wait_has_its_own_deadline() -> None:
    connection, wire = made()
    loop = asyncio.get_running_loop()
    for seconds in (10, 0.05, 20, 0.05):
        loop.call_soon(connection.data_received, b"250 ok\r\n")
        assert (await connection.answer(seconds)).code == 250
    # The last wait's timer runs on; it ends neither the rest nor a longer wait.
    loop.call_later(0.15, connection.data_received, b"251 ok\r\n")
    assert (await connection.answer(10)).code == 251
    assert connection.silent
    began = loop.time()
    with pytest.raises(Late, match=r"no answer within 0.02 s"):
        await connection.answer(0.02)
    assert wire.aborted
    assert 0.01 < loop.time() - began < 5


async def test_an_end_leaves_no_timer_behind() -> None:
    connection, _ = made()
    waiting = asyncio.create_task(connection.answer(600))
    await asyncio.sleep(0)
    connection.abort()
    with pytest.raises(Broken):
        await waiting
    with pytest.raises(Broken):
        await connection.answer(600)
    assert connection._timer is None or connection._timer.cancelled()
