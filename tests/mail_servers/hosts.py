"""The other hosts of the network: the customer's servers, which refuse by recipient, and the one that reports go to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.mail_servers.net import CUSTOMER, RETURNS, SMALL
from tests.proxy import Proxy

SMALLEST = 4096  # bytes that the small server takes


@dataclass(frozen=True)
class Refusal:
    """What the customer's server says, and to what: RCPT or the final dot of DATA."""

    reply: str
    category: str
    to: str = "RCPT"

    @property
    def codes(self) -> tuple[int, str]:
        """SMTP and enhanced code."""
        smtp, enhanced, _ = self.reply.split(" ", 2)
        return int(smtp), enhanced


# By local part; whoever is not here is accepted.
REFUSALS = {
    "unknown": Refusal("550 5.1.1 No such user here", "invalid_recipient"),
    "jörg": Refusal("550 5.1.1 No such user here", "invalid_recipient"),
    "left": Refusal("550 5.1.6 The address has moved", "moved"),
    "full": Refusal("552 5.2.2 Mailbox full", "mailbox_full"),
    "disabled": Refusal("550 5.2.1 Mailbox disabled, not accepting messages", "mailbox_disabled"),
    "busy": Refusal("452 4.2.2 Mailbox full, try again later", "mailbox_full"),
    "listed": Refusal("554 5.7.1 Client host [192.0.2.10] blocked using a block list", "listed"),
    "filtered": Refusal("554 5.7.1 Message identified as spam", "spam_content", to="DATA"),
}


class Customer:
    """Refuses those who are in REFUSALS."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = REFUSALS.get(address.partition("@")[0])
        if refusal and refusal.to == "RCPT":
            return refusal.reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        refusals = (REFUSALS.get(address.partition("@")[0]) for address in envelope.rcpt_tos)
        return next((refusal.reply for refusal in refusals if refusal), "250 2.0.0 Taken")


class Returns:
    """Keeps what comes, by its recipient."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.taken += [(address, envelope.content) for address in envelope.rcpt_tos]
        return "250 2.0.0 Taken"


@asynccontextmanager
async def customers() -> AsyncIterator[None]:
    """Those of the customers."""
    async with (
        _serving(Customer(), CUSTOMER, "mx.customer.example"),
        _serving(Customer(), SMALL, "mx.small.example", SMALLEST),
    ):
        yield


@asynccontextmanager
async def keeping_reports() -> AsyncIterator[Returns]:
    """The one that reports go to, with what has come."""
    returns = Returns()
    async with _serving(returns, RETURNS, "in.tickets.example"):
        yield returns


@asynccontextmanager
async def forwarding_reports(port: int) -> AsyncIterator[None]:
    """The one that reports go to, in whose place a server on this port of loopback answers."""
    server = await asyncio.start_server(Proxy("127.0.0.1", port).serve, RETURNS, 25)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def _serving(handler: object, address: str, name: str, most: int = 10_000_000) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(handler, hostname=name, ident="ESMTP", enable_SMTPUTF8=True, data_size_limit=most, loop=loop)

    server = await loop.create_server(protocol, address, 25)
    try:
        yield
    finally:
        server.close()
