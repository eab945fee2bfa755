"""Opens a session: connected, greeted, under TLS as the hop asks for it, and logged in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import structlog

from sender.outcome import Reply, Unreachable
from sender.routing.hops import Hop
from sender.smtp.connection import Broken, Connection, Insecure, connected
from sender.smtp.greeting import Greeting, Welcome
from sender.smtp.session import Session
from sender.smtp.tls import Contexts
from sender.smtp.values import Failed, Timeouts
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
            return await self._opened(hop)
        except Failed as failed:
            metrics.SMTP_SESSIONS.labels("refused" if isinstance(failed.result, Reply) else "unreachable").inc()
            raise

    async def _opened(self, hop: Hop) -> Session:
        try:
            return await self._greeted(hop, self.contexts.of(hop))
        except Insecure as error:
            if hop.tls != "may":
                raise Failed(_unreachable(hop, error, "tls_required", "no-tls")) from None
            log.info("no TLS", server=hop.name, reason=str(error))
            return await self._greeted(hop, None, f"none: {error}")

    async def _greeted(self, hop: Hop, context: ssl.SSLContext | None, without_tls: str | None = None) -> Session:
        connection = await self._connected(hop, context if hop.tls == "implicit" else None)
        try:
            offered, tls = await Greeting(connection, hop, self.timeouts).run(self.hostname, context)
        except BaseException:
            connection.abort()
            raise
        metrics.SMTP_SESSIONS.labels(_security(hop, tls, without_tls)).inc()
        return Session(connection, hop, self.timeouts, Welcome(offered, tls or without_tls))

    async def _connected(self, hop: Hop, context: ssl.SSLContext | None) -> Connection:
        try:
            return await connected(hop, self.timeouts.connect, context)
        except Insecure:
            raise
        except Broken as error:
            raise Failed(_unreachable(hop, error)) from None


def _security(hop: Hop, tls: str | None, without_tls: str | None) -> str:
    if tls:
        return "unverified" if hop.tls == "may" else "verified"
    return "fallback" if without_tls else "plain"


def _unreachable(hop: Hop, error: Broken, category: str = "network", rule: str = "no-session") -> Unreachable:
    return Unreachable(f"no session: {error}", hop.name, met=False, category=category, rule=rule)
