"""Mail servers for tests that say what they are told to say: refusals, garbage, nothing at all, or the end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

HOST = "127.0.0.1"
DRIP_SECONDS = 0.02


class Deed(Enum):
    """What a server does in place of an answer."""

    CLOSES = "closes the connection"
    HANGS = "says nothing more"
    STALLS = "says nothing more and reads no more"
    FLOODS = "talks without an end"
    DRIPS = "talks byte by byte, without an end"


Say = str | bytes | Deed
"""A reply without its line end, bytes as they are, or a deed."""
Script = Mapping[str, Say | Sequence[Say]]
"""What is said to a command, or to each time it comes; to a message: `body` in its middle, `dot`, `after` unasked."""

POLITE: Mapping[str, Say] = {
    "greeting": "220 mx.example.test ESMTP",
    "EHLO": "250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250 8BITMIME",
    "HELO": "250 mx.example.test",
    "MAIL": "250 2.1.0 sender ok",
    "RCPT": "250 2.1.5 recipient ok",
    "DATA": "354 go ahead",
    "dot": "250 2.0.0 taken",
    "RSET": "250 2.0.0 forgotten",
    "STAR": "220 2.0.0 go ahead",  # TLS, where the server has a certificate
    "AUTH": "235 2.7.0 welcome",
    "QUIT": "221 2.0.0 bye",
}
IN_TURN: Script = {"EHLO": "250-mx.example.test\r\n250 8BITMIME"}  # it offers no PIPELINING


@dataclass
class Visit:
    """One connection: its commands in order, the pieces they came in, its messages, and whether it has ended."""

    commands: list[str] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    unfinished: bytes | None = None  # of a message that never came to its end
    tls: str | None = None  # its version
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def end(self) -> None:
        """Wait until the connection is closed."""
        async with asyncio.timeout(10):
            await self._ended.wait()

    def ends(self) -> None:
        """It is closed."""
        self._ended.set()

    @property
    def verbs(self) -> list[str]:
        """The commands without their parameters."""
        return [command[:4] for command in self.commands]


class Server:
    """Serves its n-th connection by the n-th script, or by the last; what a script leaves open is POLITE."""

    def __init__(self, *scripts: Script, certificate: ssl.SSLContext | None = None, host: str = HOST) -> None:
        self._scripts, self._certificate, self.host = scripts or ({},), certificate, host
        self.visits: list[Visit] = []
        self.open = self.most_open = self.port = 0

    @property
    def address(self) -> str:
        """As settings name it."""
        return f"{self.host}:{self.port}"

    @property
    def messages(self) -> list[bytes]:
        """Every message that came to its final dot."""
        return [message for visit in self.visits for message in visit.messages]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        script = self._scripts[min(len(self.visits), len(self._scripts) - 1)]
        visit = Visit()
        self.visits.append(visit)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await _Conversation(script, visit, reader, writer, self._certificate).run()
        except (ConnectionError, EOFError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            visit.ends()
            writer.close()


class _Conversation:
    def __init__(
        self,
        script: Script,
        visit: Visit,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        certificate: ssl.SSLContext | None,
    ) -> None:
        self._says: dict[str, list[Say]] = {
            at: [says] if isinstance(says, str | bytes | Deed) else list(says)
            for at, says in {**POLITE, **script}.items()
        }
        self._visit, self._reader, self._writer, self._certificate = visit, reader, writer, certificate
        self._buffer = b""

    async def run(self) -> None:
        self._look_at_tls()
        await self._say("greeting")
        while True:
            command = (await self._until(b"\r\n")).decode()
            self._visit.commands.append(command)
            said = await self._say(command[:4])
            if command == "QUIT":
                return
            if command == "STARTTLS" and self._certificate:
                await self._writer.start_tls(self._certificate)
                self._look_at_tls()
            if command.startswith("AUTH"):
                await self._log_in(said)
            if command == "DATA" and isinstance(said, str) and said.startswith("354"):
                await self._message()

    def _look_at_tls(self) -> None:
        agreed = self._writer.get_extra_info("ssl_object")
        self._visit.tls = agreed.version() if agreed else None

    async def _log_in(self, said: Say) -> None:
        while isinstance(said, str) and said.startswith("334"):
            self._visit.commands.append((await self._until(b"\r\n")).decode())
            said = await self._say("AUTH")

    async def _message(self) -> None:
        self._buffer = b"\r\n" + self._buffer  # an empty message begins with its end
        try:
            if "body" in self._says:
                await self._read()
                await self._say("body")
                await self._perform(Deed.STALLS)
            found = await self._until(b"\r\n.\r\n")
        except (EOFError, ConnectionError):
            self._visit.unfinished = self._buffer[2:]
            raise
        self._visit.messages.append((found + b"\r\n")[2:])
        await self._say("dot")
        if "after" in self._says:
            await self._say("after")

    async def _say(self, at: str) -> Say:
        says = self._says[at]
        said = says.pop(0) if len(says) > 1 else says[0]
        if isinstance(said, Deed):
            await self._perform(said)
        else:
            self._writer.write(said if isinstance(said, bytes) else f"{said}\r\n".encode())
            await self._writer.drain()
        return said

    async def _perform(self, deed: Deed) -> None:
        """Ends by EOFError, by the client's end of the connection, or with the server."""
        match deed:
            case Deed.CLOSES:
                raise EOFError
            case Deed.HANGS:
                while True:
                    await self._read()
            case Deed.STALLS:
                await asyncio.Event().wait()
            case Deed.FLOODS | Deed.DRIPS:
                while True:
                    self._writer.write(b"250-and another thing\r\n" * 1000 if deed is Deed.FLOODS else b"2")
                    await self._writer.drain()
                    await asyncio.sleep(0 if deed is Deed.FLOODS else DRIP_SECONDS)

    async def _read(self) -> None:
        data = await self._reader.read(65536)
        if not data:
            raise EOFError
        self._visit.pieces.append(data)
        self._buffer += data

    async def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._read()
        found, _, self._buffer = self._buffer.partition(end)
        return found


@asynccontextmanager
async def serving(
    *scripts: Script,
    certificate: ssl.SSLContext | None = None,
    implicit: bool = False,
    host: str = HOST,
    port: int = 0,
) -> AsyncIterator[Server]:
    """A server on loopback, whose connections end with the block; `implicit`: under TLS from the start."""
    server = Server(*scripts, certificate=certificate, host=host)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, host, port, ssl=certificate if implicit else None)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
