"""Decides about connections, mails and recipients, and answers a mail when what it says is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session, TLSSetupException

from bounce_ingest.smtp.caps import Caps
from bounce_ingest.smtp.mailboxes import Mailboxes, Refused
from tracepost.tokens import Claim

log = structlog.get_logger()

Receive = Callable[[str, Claim | None, bytes], Awaitable[None]]

MOST_RECIPIENTS = 100  # RFC 5321, 4.5.3.1.8

TAKEN = "250 2.0.0 OK"
NOT_NOW = "451 4.3.0 cannot keep this now, try again later"
FULL = "452 4.3.1 too much mail in hand, try again later"
TOO_LARGE = "552 5.3.4 the mail is too large"


class Mail(Envelope):
    """A mail's envelope; what each recipient's return path says, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[Claim | None] = []


class Door:
    """What aiosmtpd asks; `receive` returns when a mail is safe, or fails for one of the reasons to `try_again`."""

    def __init__(
        self, mailboxes: Mailboxes, caps: Caps, receive: Receive, try_again: tuple[type[Exception], ...]
    ) -> None:
        self.mailboxes, self.caps = mailboxes, caps
        self._receive, self._try_again = receive, try_again

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, told: list[str]
    ) -> list[str]:
        """Say what RFC 2033 asks for, too; nobody needs to say who he is."""
        session.host_name = hostname
        ours = [line for line in told[:-1] if not line.startswith("250-AUTH")]
        return [*ours, "250-ENHANCEDSTATUSCODES", "250-PIPELINING", told[-1]]

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse who has sent too many of late."""
        if refusal := self.caps.mail(peer_of(session), monotonic()):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Mail, address: str, _options: list[str]
    ) -> str:
        """Refuse what is neither a valid return path of ours, which only who had the mail can know, nor a fixed one."""
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        try:
            envelope.claims.append(self.mailboxes.claim(address))
        except Refused as refusal:
            return str(refusal)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def take(self, way: str, claims: Sequence[Claim | None], content: bytes) -> list[str]:
        """A reply for each recipient, by its claim, when it is known whether what the mail says is safe."""
        if len(claims) == 1:
            return [await self._take(way, claims[0], content)]
        unique = dict.fromkeys(claims)
        found = await asyncio.gather(*(self._take(way, claim, content) for claim in unique))
        replies = dict(zip(unique, found, strict=True))
        return [replies[claim] for claim in claims]

    async def _take(self, way: str, claim: Claim | None, content: bytes) -> str:
        try:
            await self._receive(way, claim, content)
        except self._try_again as error:
            log.warning("report refused for now", way=way, reason=str(error))
            return NOT_NOW
        except Exception:
            log.exception("report refused for now", way=way)
            return NOT_NOW
        return TAKEN

    async def handle_exception(self, error: Exception) -> str:
        """The reply where the protocol's code failed: never for good, and never with the error's words."""
        if isinstance(error, TLSSetupException):
            log.info("no TLS", reason=repr(error.__cause__))
        else:
            log.error("session failed", exc_info=error)
        return "451 4.3.0 that went wrong here, try again later"


def peer_of(session: Session) -> str:
    """The client's address; empty where it has none."""
    peer: object = session.peer
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
