"""Takes returned mail by SMTP, by aiosmtpd: 250 only after the confirm, 451 when it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from bounce_ingest.parsers.values import NoParser
from bounce_ingest.settings import BounceIngestSettings
from tracepost import tokens
from tracepost.broker import NotConfirmed, Unroutable
from tracepost.tokens import Claim, Keyring

log = structlog.get_logger()

Receive = Callable[[Claim, bytes], Awaitable[None]]


class _Server(SMTP):
    # Real reports hold lines far over the 1000 octets of RFC 5321; refusing one loses it for ever.
    line_length_limit = 1024 * 1024


class ReturnPaths:
    """Accepts mail for return paths that we signed."""

    def __init__(self, domain: str, keyring: Keyring, receive: Receive) -> None:
        self._domain, self._keyring, self._receive = domain.lower(), keyring, receive
        self.busy: set[asyncio.Task[object]] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Refuse what is no valid return path of ours: only who had the mail can know one."""
        if self._claim(address) is None:
            return "550 5.1.1 no such return path here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer when the events are safe."""
        task = asyncio.current_task()
        assert task is not None
        assert isinstance(envelope.content, bytes)
        self.busy.add(task)
        try:
            for address in dict.fromkeys(envelope.rcpt_tos):
                if claim := self._claim(address):
                    await self._receive(claim, envelope.content)
        except (NotConfirmed, Unroutable, NoParser) as error:
            log.warning("report refused for now", reason=str(error))
            return "451 4.3.0 cannot keep this now, try again later"
        finally:
            self.busy.discard(task)
        return "250 2.0.0 OK"

    def _claim(self, address: str) -> Claim | None:
        local, _, domain = address.rpartition("@")
        if domain.lower() != self._domain:
            return None
        return self._keyring.verify("return-path", tokens.from_local_part(local))


@asynccontextmanager
async def serving(settings: BounceIngestSettings, handler: ReturnPaths) -> AsyncIterator[None]:
    """Listen until the block ends, then finish the mails in hand."""

    def protocol() -> SMTP:
        return _Server(
            handler,
            data_size_limit=settings.most_bytes,
            enable_SMTPUTF8=True,
            hostname=settings.hostname,
            ident="Tracepost",
            timeout=settings.session_timeout,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(protocol, settings.host, settings.smtp_port)
    try:
        yield
    finally:
        server.close()
        while handler.busy:
            log.info("finishing mails", in_hand=len(handler.busy))
            await asyncio.wait(handler.busy, timeout=1, return_when=asyncio.FIRST_COMPLETED)
