"""SMTP and LMTP as aiosmtpd speaks them, but for content of any lines, an answer for each recipient, and limits."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import AnyStr

from aiosmtpd.smtp import SMTP, syntax

from bounce_ingest.smtp import content
from bounce_ingest.smtp.door import FULL, TAKEN, TOO_LARGE, Door, Mail, peer_of
from tracepost import metrics
from tracepost.tokens import Claim

PIECE = 64 * 1024  # bytes that are read at once; no line of commands is longer

_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322
_PLAIN = re.compile(rf"<({_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)?>(?: (.*))?")


@dataclass(frozen=True, slots=True)
class Manners:
    """Of every session: our name, the most bytes of a mail and how many are kept, seconds of idleness and in all."""

    hostname: str
    most: int
    kept: int
    idle: float
    whole: float
    tls: ssl.SSLContext | None = None


class Server(SMTP):
    """One connection."""

    line_length_limit = PIECE
    way = "smtp"

    def __init__(self, door: Door, manners: Manners, connections: set[Server]) -> None:
        super().__init__(
            door,
            data_size_limit=manners.most,
            enable_SMTPUTF8=True,
            hostname=manners.hostname,
            ident="Tracepost",
            tls_context=manners.tls,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
            timeout=manners.idle,
            loop=asyncio.get_running_loop(),
        )
        self._door, self._manners, self._connections = door, manners, connections
        self.is_busy = False
        self._farewell = ""
        self._unsent = bytearray()

    def _create_envelope(self) -> Mail:
        return Mail()

    async def _handle_client(self) -> None:
        """The whole session."""
        assert self.session is not None
        assert self.transport is not None
        peer = peer_of(self.session)
        refusal = self._door.caps.enter(peer)
        end = self.loop.call_later(self._manners.whole, self.close, "421 4.4.2 the session takes too long")
        self._connections.add(self)
        metrics.SESSIONS.inc()
        try:
            if refusal:
                self.close(refusal)
            else:
                await super()._handle_client()
        finally:
            end.cancel()
            self._connections.discard(self)
            metrics.SESSIONS.dec()
            self._door.caps.leave(peer)

    def close(self, farewell: str) -> None:
        """Say why and end, after the answer to a mail that is in hand."""
        self._farewell = farewell
        if not self.is_busy and self.transport is not None:
            metrics.REFUSED.labels(farewell[:3]).inc()
            with suppress(ConnectionError):
                self._writer.write(bytes(self._unsent) + f"{farewell}\r\n".encode())
            self.transport.close()

    async def push(self, status: AnyStr) -> None:
        """Answer; who sends several commands at once is answered at once (RFC 2920). What is refused is counted."""
        reply = status if isinstance(status, bytes) else status.encode()
        if reply >= b"4":
            metrics.REFUSED.labels(reply[:3].decode(errors="replace")).inc()
        self._unsent += reply + b"\r\n"
        if reply.startswith(b"250-") or (reply.startswith(b"250") and b"\n" in self._ahead):
            return
        self._writer.write(bytes(self._unsent))
        self._unsent.clear()
        await self._writer.drain()

    @property
    def _ahead(self) -> bytearray:
        """What has come and is not read yet; asyncio has no name for it, and aiosmtpd uses it under this one too."""
        ahead: bytearray = self._reader._buffer  # type: ignore[attr-defined]
        return ahead

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """An address and what is behind it; most are plain, and the library takes forty times as long for one."""
        if found := _PLAIN.fullmatch(arg):
            return found[1] or "<>", found[2] or ""
        address: tuple[str | None, str | None] = super()._getaddr(arg)
        return address

    def _timeout_cb(self) -> None:
        self.close("421 4.4.2 no command for too long")

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """Take a mail and answer when it is safe."""
        assert isinstance(self.envelope, Mail)
        if refusal := self._not_now(arg):
            await self.push(refusal)
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self._ahead[:0] = content.LINE_END  # see content.read
        claims = self.envelope.claims
        self.envelope = self._create_envelope()
        with self._door.caps.taking() as grown:
            mail, size = await content.read(self._reader, self._manners.kept, grown)
            self.is_busy = True
            try:
                await self._answer(await self._replies(claims, mail, size))
            finally:
                self.is_busy = False
        self._reset_timeout()
        if self._farewell:
            self.close(self._farewell)

    def _not_now(self, arg: str | None) -> str | None:
        assert self.session is not None
        assert self.envelope is not None
        if not self.session.host_name:
            return "503 5.5.1 say hello first"
        if not self.envelope.rcpt_tos:
            return "503 5.5.1 name a recipient first"
        if arg:
            return "501 5.5.4 DATA has no argument"
        return None if self._door.caps.has_room() else FULL

    async def _replies(self, claims: Sequence[Claim | None], mail: bytes, size: int) -> list[str]:
        if size > self._manners.most:
            return [TOO_LARGE] * len(claims)
        return await self._door.take(self.way, claims, mail)

    async def _answer(self, replies: list[str]) -> None:
        """One for all: taken only if it is for every recipient, who is told of again without harm."""
        await self.push(next((reply for reply in replies if reply != TAKEN), TAKEN))


class LmtpServer(Server):
    """The same for a mail server of our own that has taken the mail."""

    way = "lmtp"

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802
        """The greeting of LMTP."""
        await super().smtp_EHLO(arg)

    async def smtp_HELO(self, _arg: str) -> None:  # noqa: N802
        """Not in LMTP."""
        await self.push("500 5.5.1 this is LMTP: say LHLO")

    async def smtp_EHLO(self, _arg: str) -> None:  # noqa: N802
        """Not in LMTP."""
        await self.push("500 5.5.1 this is LMTP: say LHLO")

    async def _answer(self, replies: list[str]) -> None:
        """One for each recipient, in their order (RFC 2033, 4.2)."""
        for reply in replies:
            await self.push(reply)
