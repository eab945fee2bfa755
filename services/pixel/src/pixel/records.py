"""The format of the spool's files: records that can be told whole from torn, whatever stands between them; pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

# JSON holds no NUL, so that this stands nowhere in a body: behind a damaged stretch the next record is found by it.
_MARK = b"\0TPR"
_HEAD = struct.Struct(">4sII")  # the mark, the body's length, the CRC-32 of both

OVERHEAD = _HEAD.size


class Found(NamedTuple):
    """The bodies of all whole records, in order, and how many bytes belong to none."""

    bodies: Sequence[bytes]
    damaged: int


def encoded(body: bytes) -> bytes:
    """A record; the body is JSON."""
    size = len(body)
    return _HEAD.pack(_MARK, size, _sum(size, body)) + body


def decoded(data: bytes) -> Found:
    """The records in a file's content, torn or damaged as it may be."""
    bodies: list[bytes] = []
    at = kept = 0
    while (at := data.find(_MARK, at)) >= 0:
        body = _body(data, at)
        if body is None:
            at += 1
        else:
            bodies.append(body)
            at += OVERHEAD + len(body)
            kept += OVERHEAD + len(body)
    return Found(bodies, len(data) - kept)


def _body(data: bytes, at: int) -> bytes | None:
    if len(data) < at + OVERHEAD:
        return None
    _, size, checksum = _HEAD.unpack_from(data, at)
    body = data[at + OVERHEAD : at + OVERHEAD + size]
    return body if len(body) == size and _sum(size, body) == checksum else None


def _sum(size: int, body: bytes) -> int:
    return crc32(body, size)
