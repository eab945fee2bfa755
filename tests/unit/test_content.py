"""The content after DATA ends where CR LF . CR LF stands and nowhere else, however it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bounce_ingest.smtp import content
from tests.unit.samples import modest

pieces = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.", b"\0"]), max_size=12)


def plainly(sent: bytes) -> tuple[bytes, bytes]:
    """By RFC 5321, line by line: the content, and what comes behind its end."""
    read = b""
    while not sent.startswith(b".\r\n"):
        line, end, sent = sent.partition(b"\r\n")
        read += line.removeprefix(b".") + end
    return read, sent[3:]


async def as_it_comes(sent: Sequence[bytes], keep: int) -> tuple[bytes, int, bytes, int]:
    reader, grown = asyncio.StreamReader(limit=8), 0

    def count(by: int) -> None:
        nonlocal grown
        grown += by

    async def come() -> None:
        for piece in sent:
            reader.feed_data(piece)
            await asyncio.sleep(0)

    reader.feed_data(content.LINE_END)
    coming = asyncio.create_task(come())
    async with asyncio.timeout(5):
        read, size = await content.read(reader, keep, count)
        await coming
    reader.feed_eof()
    return read, size, await reader.read(), grown


@modest
@given(pieces, pieces, st.integers(1, 40))
async def test_it_ends_at_its_end(before: list[bytes], behind: list[bytes], keep: int) -> None:
    sent = [*before, b"\r\n.\r\n", *behind]
    expected, rest = plainly(b"".join(sent))
    read, size, left, grown = await as_it_comes(sent, 1_000)
    assert (read, left) == (expected, rest)
    assert size == len(b"".join(sent)) - len(rest) - 3
    assert grown <= size + 7
    kept, same_size, _, grown = await as_it_comes(sent, keep)
    assert expected.startswith(kept)
    assert (same_size, grown <= keep + 2) == (size, True)
