"""A greeted connection and the mail transactions on it, one after another: who said what, and what that means."""

from __future__ import annotations

import ssl
from typing import Literal, NoReturn

from sender.outcome import Lost, Reply, Unreachable
from sender.routing.hops import Hop, Login
from sender.smtp import auth, commands, content, tls
from sender.smtp.connection import Broken, Connection, Insecure, Late
from sender.smtp.replies import Answer, keywords
from sender.smtp.values import Timeouts
from tracepost import clock, crash
from tracepost.bounces.classify import Stage

CLOSING = 421  # the server closes the connection, whatever was asked (RFC 5321 3.8)
GO_AHEAD = 354
_STAGES: tuple[Stage, ...] = ("mail", "rcpt", "data")


class Failed(Exception):
    """The transaction ended without the message being accepted; carries why."""

    def __init__(self, result: Reply | Unreachable | Lost) -> None:
        super().__init__(str(result))
        self.result = result


class Stale(Exception):
    """A connection that had been idle was dead: nothing was under way, and a new one may serve."""


class Session:
    """Between transactions `usable` tells whether there may be another one."""

    def __init__(self, connection: Connection, hop: Hop, timeouts: Timeouts, without_tls: str | None = None) -> None:
        self.hop, self.transactions = hop, 0
        self._connection, self._timeouts, self._without_tls = connection, timeouts, without_tls
        self._met = False
        self._tls: str | None = None
        self._seconds = timeouts.mail, timeouts.rcpt, timeouts.data
        self._offered: dict[str, str] = {}
        self._pipelining = False
        self._state: Literal["ready", "to be reset", "busy", "taking"] = "busy"

    @property
    def security(self) -> Literal["verified", "unverified", "plain", "fallback"]:
        """How safe it is; `fallback`: TLS was offered, and could not be agreed on."""
        if self._connection.agreed:
            return "unverified" if self.hop.tls == "may" else "verified"
        return "fallback" if self._without_tls else "plain"

    @property
    def usable(self) -> bool:
        """No transaction is under way, and the server owes and said nothing."""
        return self._state in {"ready", "to be reset"} and self._connection.silent

    def abort(self) -> None:
        """Close at once, without a final dot."""
        self._connection.abort()

    async def greet(self, hostname: str, context: ssl.SSLContext) -> None:
        """The greeting, EHLO or else HELO, TLS and the login; raises Insecure without the TLS that is to be."""
        greeting = await self._answer("connect", self._timeouts.greeting)
        if greeting.code != 220:
            self._fail("connect", greeting)
        self._heed("connect")
        await self._introduce(hostname)
        if not self._without_tls and not self._connection.agreed and await self._may_start_tls():
            await self._connection.secure(context, self.hop.host, self._timeouts.handshake)
            await self._introduce(hostname)  # what was offered in the clear counts no more (RFC 3207 4.2)
        self._tls = self._agreed()
        if self.hop.login:
            await self._log_in(self.hop.login)
        self._met, self._state = True, "ready"

    def _agreed(self) -> str | None:
        if agreed := self._connection.agreed:
            return tls.told(agreed)
        return f"none: {self._without_tls}" if self._without_tls else None

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
        self._pipelining = "PIPELINING" in self._offered

    async def _may_start_tls(self) -> bool:
        """The server is ready for the handshake; raises Insecure where it is not and must be."""
        if "STARTTLS" in self._offered:
            self._connection.write(b"STARTTLS\r\n")
            answer = await self._answer("ehlo", self._timeouts.starttls)
            self._heed("ehlo")  # what came in the clear would be taken for an answer under TLS
            if answer.code == 220:
                return True
            words = f"STARTTLS was answered {answer.code} {answer.text}"
        else:
            words = "the server offers no STARTTLS"
        if self.hop.tls == "must":
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
        raise Failed(Unreachable(words, self.hop.name, met=False, category="auth", rule="not-logged-in"))

    async def envelope(self, envelope: commands.Envelope) -> None:
        """MAIL, RCPT and DATA, in one write where the server allows; raises Failed, or Stale if a new one may do."""
        self.transactions += 1
        lines = self._lines(envelope)
        reset, self._state = self._state == "to be reset", "busy"
        if self._pipelining:
            self._connection.write((b"RSET\r\n" if reset else b"") + b"".join(lines))
        if reset:
            await self._reset()
        for stage, line, seconds in zip(_STAGES, lines, self._seconds, strict=True):
            if not self._pipelining:
                self._connection.write(line)
            answer = self._connection.answered() or await self._answer(stage, seconds)
            if not (answer.code == GO_AHEAD if stage == "data" else 200 <= answer.code < 300):
                await self._refused(stage, answer)
        self._state = "taking"

    async def message(self, message: bytes, deadline: float) -> Reply:
        """The message to its final dot, which is not sent after `deadline` (of `tracepost.clock`).

        From the block with the dot on, a lost session leaves the outcome unknown.
        """
        if self._state != "taking":
            raise RuntimeError("a message needs an envelope that was taken")
        self._state = "busy"
        before, last = content.blocks(message)
        await self._hand_over(before)
        if clock.now() > deadline:
            self.abort()
            raise Failed(self._unreachable("data", "the time in which the final dot may be sent was over"))
        self._connection.write(last)
        try:
            answer = await self._connection.answer(self._timeouts.final_dot)
        except Broken as error:
            raise Failed(Lost(f"the session was lost after the final dot: {error}", self.hop.name)) from None
        crash.point("sender.final-dot-answered")
        return self._judged(answer)

    async def quit(self) -> None:
        """Take leave and close; how the server takes it does not matter."""
        try:
            self._connection.write(b"QUIT\r\n")
            await self._connection.answer(self._timeouts.quit)
        except Broken:
            pass
        finally:
            self.abort()

    async def _hand_over(self, before: list[bytes]) -> None:
        """The blocks before the last one; a server that speaks already refuses, or is not to be understood."""
        try:
            for block in before:
                self._connection.write(block)
                await self._connection.drained(self._timeouts.block)
                if self._connection.spoke:
                    break
            if not self._connection.silent:
                self._fail("data", await self._connection.answer(self._timeouts.block))
        except Broken as error:
            raise Failed(self._unreachable("data", str(error))) from None

    def _judged(self, answer: Answer) -> Reply:
        reply = self._reply("data", answer)
        if 200 <= answer.code < 300:
            self._state = "ready"
            return reply
        if not answer.refuses:
            words = f"the final dot was answered {answer.code} {answer.text}"
            raise Failed(Lost(words, self.hop.name))
        if answer.code != CLOSING:
            self._state = "to be reset"
        raise Failed(reply)

    def _lines(self, envelope: commands.Envelope) -> tuple[bytes, bytes, bytes]:
        try:
            return commands.mail(envelope, self._offered), commands.rcpt(envelope, self._offered), b"DATA\r\n"
        except commands.Refused as refused:
            raise Failed(Reply(refused.stage, refused.code, refused.text, self.hop.name)) from None

    async def _reset(self) -> None:
        if not self._pipelining:
            self._connection.write(b"RSET\r\n")
        answer = await self._answer("mail", self._timeouts.rset)
        if answer.code != 250:
            raise Stale

    async def _refused(self, stage: Stage, answer: Answer) -> NoReturn:
        if answer.code == CLOSING and self._may_be_stale(stage):
            raise Stale
        if answer.refuses and answer.code != CLOSING:
            await self._clear_up(stage)
        self._fail(stage, answer)

    async def _clear_up(self, refused: Stage) -> None:
        """After a refusal: read what the commands behind it were answered, so that the connection may be used again."""
        more = 2 - _STAGES.index(refused) if self._pipelining else 0
        try:
            answers = [await self._connection.answer(self._timeouts.rset) for _ in range(more)]
            if answers and answers[-1].code == GO_AHEAD:
                if refused == "mail":
                    return  # who knows what this server would do with the end of a message
                self._connection.write(b".\r\n")  # to nobody (RFC 2920 3.1)
                answers.append(await self._connection.answer(self._timeouts.rset))
        except Broken:
            return
        if all(answer.code != CLOSING for answer in answers):
            self._state = "to be reset"

    def _heed(self, stage: Stage) -> None:
        """A server that speaks on unasked would answer the next command before it is given."""
        if not self._connection.silent:
            raise Failed(self._unreachable(stage, "the server speaks unasked"))

    async def _hello(self, verb: str, hostname: str) -> Answer:
        self._connection.write(f"{verb} {hostname}\r\n".encode())
        return await self._answer("ehlo", self._timeouts.ehlo)

    async def _answer(self, stage: Stage, seconds: float) -> Answer:
        try:
            return await self._connection.answer(seconds)
        except Broken as error:
            if self._may_be_stale(stage) and not isinstance(error, Late):
                raise Stale from None
            raise Failed(self._unreachable(stage, str(error))) from None

    def _may_be_stale(self, stage: Stage) -> bool:
        return stage == "mail" and self.transactions > 1

    def _fail(self, stage: Stage, answer: Answer) -> NoReturn:
        if answer.refuses:
            raise Failed(self._reply(stage, answer))
        raise Failed(self._unreachable(stage, f"the answer was {answer.code} {answer.text}"))

    def _reply(self, stage: Stage, answer: Answer) -> Reply:
        return Reply(stage, answer.code, answer.text, self.hop.name, self._connection.ip, self._tls)

    def _unreachable(self, stage: Stage, reason: str) -> Unreachable:
        return Unreachable(f"the session was lost at {stage.upper()}: {reason}", self.hop.name, self._met)
