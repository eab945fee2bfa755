"""Opens a session: connected, greeted, under TLS as the hop asks for it, and logged in."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from sender.outcome import Reply, Unreachable
from sender.routing.hops import Hop
from sender.smtp.connection import Broken, Insecure, connected
from sender.smtp.session import Failed, Session
from sender.smtp.tls import Contexts
from sender.smtp.values import Timeouts
from tracepost import metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens sessions; each raises Failed when there is none to be had."""

    hostname: str
    timeouts: Timeouts
    contexts: Contexts

    async def open(self, hop: Hop) -> Session:
        """A new one, ready for its first transaction; without TLS where it is not needed and cannot be agreed on."""
        try:
            session = await self._opened(hop)
        except Failed as failed:
            metrics.SMTP_SESSIONS.labels("refused" if isinstance(failed.result, Reply) else "unreachable").inc()
            raise
        metrics.SMTP_SESSIONS.labels(session.security).inc()
        return session

    async def _opened(self, hop: Hop) -> Session:
        try:
            return await self._greeted(hop)
        except Insecure as error:
            if hop.tls != "may":
                raise Failed(_unreachable(hop, error, "tls_required", "no-tls")) from None
            log.warning("no TLS", server=hop.name, reason=str(error))
            return await self._greeted(hop, without_tls=str(error))

    async def _greeted(self, hop: Hop, without_tls: str | None = None) -> Session:
        context = self.contexts.of(hop)
        try:
            connection = await connected(hop, self.timeouts.connect, context if hop.tls == "implicit" else None)
        except Insecure:
            raise
        except Broken as error:
            raise Failed(_unreachable(hop, error)) from None
        session = Session(connection, hop, self.timeouts, without_tls)
        try:
            await session.greet(self.hostname, context)
        except BaseException:
            session.abort()
            raise
        return session


def _unreachable(hop: Hop, error: Broken, category: str = "network", rule: str = "no-session") -> Unreachable:
    return Unreachable(f"no session: {error}", hop.name, met=False, category=category, rule=rule)
