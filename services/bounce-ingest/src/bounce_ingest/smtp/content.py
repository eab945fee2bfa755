"""Reads the content that follows DATA: ended by CR LF . CR LF alone, of lines as long as they come."""

from __future__ import annotations

from asyncio import LimitOverrunError, StreamReader
from collections.abc import Callable

LINE_END = b"\r\n"
_END = b"\r\n.\r\n"


async def read(reader: StreamReader, keep: int, grown: Callable[[int], None]) -> tuple[bytes, int]:
    """The first `keep` bytes of the content, and the size of it all; transparent dots are undone (RFC 5321, 4.5.2).

    `grown` is told of each number of bytes that is kept.

    The reader begins with a LINE_END before the content, for that is how the end is found where there is none. Only CR
    LF ends a line, so that no bare CR or LF around a dot ends the content early.
    """
    kept, size = bytearray(), 0
    ended = False
    while not ended:
        piece, ended = await _until_end(reader)
        more = piece[: max(0, keep + len(LINE_END) - len(kept))]
        kept += more
        grown(len(more))
        size += len(piece)
    size -= len(_END)
    lines = kept[: len(LINE_END) + size].replace(b"\r\n.", LINE_END)
    return bytes(lines[len(LINE_END) :]), size


async def _until_end(reader: StreamReader) -> tuple[bytes, bool]:
    """What is there, up to the end; whether that was reached."""
    try:
        return await reader.readuntil(_END), True
    except LimitOverrunError as error:
        return await reader.read(error.consumed), False
