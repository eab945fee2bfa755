"""Makes a message ready for DATA: line ends, dots, the final dot, and blocks; pure."""

from __future__ import annotations

BLOCK = 65536  # bytes that are handed over at a time


def stuffed(content: bytes) -> bytes:
    """The message with CRLF line ends and its dots doubled (RFC 5321 4.5.2), to before the final dot."""
    content = _lines(content)
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..")


def blocks(content: bytes) -> tuple[list[bytes], bytes]:
    """The message as it goes out: blocks before which nothing is complete, and the one with the whole final dot."""
    body = stuffed(content)
    last = max(len(body) - 1, 0) // BLOCK * BLOCK
    return [body[start : start + BLOCK] for start in range(0, last, BLOCK)], body[last:] + b".\r\n"


def _lines(content: bytes) -> bytes:
    # A bare CR or LF is a line end to some servers: left alone, it would let a message end itself and begin another.
    whole = content.count(b"\r\n")
    if content.count(b"\n") != whole or content.count(b"\r") != whole:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"
