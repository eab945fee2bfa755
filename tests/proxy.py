"""A TCP proxy before a real server, whose connections can be cut, refused, or have the server's answers held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from yarl import URL


class Proxy:
    """Forwards to one server; `answering` cleared holds every byte back that the server sends."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusing = False
        self.port = 0

    def cut(self) -> int:
        """Reset every connection; answers how many there were."""
        connections = len(self._writers) // 2
        for writer in self._writers:
            writer.transport.abort()
        return connections

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.refusing:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, server_writer}
        try:
            await asyncio.gather(
                self._copy(reader, server_writer, None), self._copy(server_reader, writer, self.answering)
            )
        finally:
            self._writers -= {writer, server_writer}

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if gate:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """The URL through a proxy, and the proxy."""
    target = URL(url)
    proxy = Proxy(target.host or "", target.port or 0)
    running: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield str(target.with_port(proxy.port)), proxy
    finally:
        server.close()
        proxy.answering.set()
        proxy.cut()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
