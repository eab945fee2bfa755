"""A response that goes on: server-sent events (WHATWG HTML 9.2) with heartbeats."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from tracepost import postgres

HEARTBEAT_SECONDS = 15.0
BUFFER = 64 * 1024
HEARTBEAT = b":\n\n"
_RETRY = b"retry: 2000\n\n"  # milliseconds until a browser comes back

# A proxy between must neither keep it nor hold it back until it is whole.
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@asynccontextmanager
async def streaming(request: web.Request) -> AsyncIterator[web.StreamResponse]:
    """A stream with its head sent; it ends where the client has gone or the database is away: the client comes back."""
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    if request.transport:  # the kernel's buffer, which else grows to megabytes for a client that does not read
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    with suppress(*postgres.TRANSIENT):  # to which a lost connection of the client's belongs
        await response.write(_RETRY)
        yield response


def cut(request: web.Request) -> None:
    """Close the connection, whatever waits to be sent."""
    if request.transport:
        request.transport.abort()
