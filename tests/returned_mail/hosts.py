"""The other hosts of the network: the customer's servers, which refuse by recipient, and the one that takes reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.returned_mail.cases import REFUSALS
from tests.returned_mail.net import CUSTOMER, RETURNS, SMALL

SMALLEST = 4096  # bytes that the small server takes


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
async def listening() -> AsyncIterator[Returns]:
    """All of them."""
    returns = Returns()
    async with AsyncExitStack() as servers:
        await servers.enter_async_context(_serving(Customer(), CUSTOMER, "mx.customer.example"))
        await servers.enter_async_context(_serving(Customer(), SMALL, "mx.small.example", SMALLEST))
        await servers.enter_async_context(_serving(returns, RETURNS, "in.tickets.example"))
        yield returns


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
