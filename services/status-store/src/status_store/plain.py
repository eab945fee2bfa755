"""Requests that are understood at a glance: `GET /v1/messages/{id}` with a key, whole, and nothing odd in it; pure."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_BYTES = 8_190  # of a request in all: what aiohttp takes in a line

# A part of RFC 9112 that leaves no two ways to read it: printable ASCII, every line ended by CR LF, none folded.
_REQUEST = re.compile(
    rb"GET /v1/messages/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) HTTP/1\.1\r\n"
    rb"((?:[0-9A-Za-z-]+:[ -~]*\r\n)+)\r\n"
)
# With these the answer would be another one, or something would follow: a body, another protocol, the end.
_ODD = frozenset({"content-length", "expect", "origin", "transfer-encoding", "upgrade"})


class Asked(NamedTuple):
    """For which message is asked, by whose key, and which version of it (an ETag) is known already."""

    message_id: str
    key: str
    known: str | None


def understood(data: bytes) -> Asked | None:
    """What is asked, where the bytes are one such request, whole; None says nothing but that they are not."""
    found = _REQUEST.fullmatch(data) if len(data) <= MOST_BYTES else None
    if found is None:
        return None
    lines = found[2].decode().split("\r\n")[:-1]
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    scheme, _, key = fields.get("authorization", "").partition(" ")
    stays = fields.get("connection", "keep-alive").lower() == "keep-alive"
    if len(fields) < len(lines) or not stays or not _ODD.isdisjoint(fields) or scheme.lower() != "bearer":
        return None
    return Asked(found[1].decode(), key.strip(), fields.get("if-none-match"))
