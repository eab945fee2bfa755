"""Greets a mail server: its greeting, EHLO or else HELO, TLS where it is to be, and the login."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Literal, NamedTuple, NoReturn

from sender.outcome import Reply, Unreachable
from sender.routing.hops import Hop, Login
from sender.smtp import auth, tls
from sender.smtp.connection import Broken, Connection, Insecure
from sender.smtp.replies import Answer, keywords
from sender.smtp.values import Failed, Timeouts

Stage = Literal["connect", "ehlo"]


class Welcome(NamedTuple):
    """What the server offers us now, and the TLS that was agreed on, for people."""

    offered: Mapping[str, str]
    tls: str | None


class Greeting:
    """Raises Failed where there is no session, and Insecure without the TLS that is to be."""

    def __init__(self, connection: Connection, hop: Hop, timeouts: Timeouts) -> None:
        self._connection, self._hop, self._timeouts = connection, hop, timeouts
        self._offered: dict[str, str] = {}

    async def run(self, hostname: str, context: ssl.SSLContext | None) -> Welcome:
        """The whole of it; without a `context` TLS is not asked for."""
        greeting = await self._answer("connect", self._timeouts.greeting)
        if greeting.code != 220:
            self._fail("connect", greeting)
        self._heed("connect")
        await self._introduce(hostname)
        if context and not self._connection.agreed and await self._may_start_tls():
            await self._connection.secure(context, self._hop.host, self._timeouts.handshake)
            await self._introduce(hostname)  # what was offered in the clear counts no more (RFC 3207 4.2)
        if self._hop.login:
            await self._log_in(self._hop.login)
        agreed = self._connection.agreed
        return Welcome(self._offered, tls.told(agreed) if agreed else None)

    async def _introduce(self, hostname: str) -> None:
        self._offered = {}
        answer = await self._hello("EHLO", hostname)
        if 500 <= answer.code < 600:
            answer = await self._hello("HELO", hostname)
        elif answer.code == 250:
            self._offered = keywords(answer)
        if answer.code != 250:
            self._fail("ehlo", answer)
        self._heed("ehlo")

    async def _may_start_tls(self) -> bool:
        """The server is ready for the handshake; raises Insecure where it is not and must be."""
        words = "the server offers no STARTTLS"
        if "STARTTLS" in self._offered:
            self._connection.write(b"STARTTLS\r\n")
            answer = await self._answer("ehlo", self._timeouts.starttls)
            self._heed("ehlo")  # what came in the clear would be taken for an answer under TLS
            if answer.code == 220:
                return True
            words = f"STARTTLS was answered {answer.code} {answer.text}"
        if self._hop.tls == "must":
            raise Insecure(words)
        return False

    async def _log_in(self, login: Login) -> None:
        steps = auth.steps(login, self._offered)
        if not steps:
            self._not_logged_in(f"offers neither AUTH PLAIN nor LOGIN, but {self._offered.get('AUTH') or 'nothing'}")
        for number, line in enumerate(steps, start=1):
            self._connection.write(line + b"\r\n")
            answer = await self._answer("ehlo", self._timeouts.ehlo)
            if answer.code != (auth.LOGGED_IN if number == len(steps) else auth.GO_ON):
                self._not_logged_in(f"refuses the login: {answer.code} {answer.text}")
        self._heed("ehlo")

    def _not_logged_in(self, what: str) -> NoReturn:
        # Never a refusal of the message, whatever the code: it is our password, not the mail.
        words = f"no session: the server {what}"
        raise Failed(Unreachable(words, self._hop.name, met=False, category="auth", rule="not-logged-in"))

    async def _hello(self, verb: str, hostname: str) -> Answer:
        self._connection.write(f"{verb} {hostname}\r\n".encode())
        return await self._answer("ehlo", self._timeouts.ehlo)

    async def _answer(self, stage: Stage, seconds: float) -> Answer:
        try:
            return await self._connection.answer(seconds)
        except Broken as error:
            self._lost(stage, str(error))

    def _heed(self, stage: Stage) -> None:
        """A server that speaks on unasked would answer the next command before it is given."""
        if not self._connection.silent:
            self._lost(stage, "the server speaks unasked")

    def _fail(self, stage: Stage, answer: Answer) -> NoReturn:
        if answer.refuses:
            raise Failed(Reply(stage, answer.code, answer.text, self._hop.name, self._connection.ip))
        self._lost(stage, f"the answer was {answer.code} {answer.text}")

    def _lost(self, stage: Stage, reason: str) -> NoReturn:
        words = f"the session was lost at {stage.upper()}: {reason}"
        raise Failed(Unreachable(words, self._hop.name, met=False))
