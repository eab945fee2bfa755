"""The bytes of every answer that the pixel gives; pure."""

from __future__ import annotations

import base64
from email.utils import formatdate
from typing import Literal, NamedTuple

# One transparent pixel, whole: the one byte that most such images lack is the end of its only row.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
# Gmail's proxy fetches again at the next open when it may not store.
HEADERS = {
    "Cache-Control": "no-store, no-cache, must-revalidate, private, max-age=0",
    "Pragma": "no-cache",
    "Expires": "0",
}

Kind = Literal["pixel", "not-found", "bad-request", "too-long", "too-large"]
_OTHERS: dict[Kind, str] = {
    "not-found": "404 Not Found",
    "bad-request": "400 Bad Request",
    "too-long": "414 URI Too Long",
    "too-large": "431 Request Header Fields Too Large",
}


class Form(NamedTuple):
    """An answer by its kind, with its body or (to HEAD) without, on a connection that stays open or does not."""

    kind: Kind
    body: bool
    keep: bool


def answers(now: float) -> dict[Form, bytes]:
    """Every answer, with the date of this second since the epoch."""
    date = formatdate(now, usegmt=True)
    return {
        Form(kind, body, keep): _answer(kind, date, body=body, keep=keep)
        for kind in ("pixel", *_OTHERS)
        for body in (True, False)
        for keep in (True, False)
    }


def _answer(kind: Kind, date: str, *, body: bool, keep: bool) -> bytes:
    if kind == "pixel":
        status, content, headers = "200 OK", GIF, {"Content-Type": "image/gif", **HEADERS}
    else:
        status, content = _OTHERS[kind], f"{_OTHERS[kind][4:]}\n".encode()
        headers = {"Content-Type": "text/plain"}
    headers |= {
        "Content-Length": str(len(content)),
        "Date": date,
        "Connection": "keep-alive" if keep else "close",
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + (content if body else b"")
