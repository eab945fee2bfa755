"""A greeted connection and the mail transactions on it, one after another: who said what, and what that means."""

from __future__ import annotations

from typing import Literal, NoReturn

from sender.outcome import Lost, Reply, Unreachable
from sender.routing.hops import Hop
from sender.smtp import commands, content
from sender.smtp.connection import Broken, Connection, Late
from sender.smtp.greeting import Welcome
from sender.smtp.replies import Answer
from sender.smtp.values import Failed, Timeouts
from tracepost import clock, crash
from tracepost.bounces.classify import Stage

CLOSING = 421  # the server closes the connection, whatever was asked (RFC 5321 3.8)
GO_AHEAD = 354
_STAGES: tuple[Stage, ...] = ("mail", "rcpt", "data")


class Stale(Exception):
    """A connection that had been idle was dead: nothing was under way, and a new one may serve."""


class Session:
    """Between transactions `usable` tells whether there may be another one."""

    def __init__(self, connection: Connection, hop: Hop, timeouts: Timeouts, welcome: Welcome) -> None:
        self.hop, self.transactions = hop, 0
        self._connection, self._timeouts = connection, timeouts
        self._seconds = timeouts.mail, timeouts.rcpt, timeouts.data
        self._offered, self._tls = welcome
        self._pipelining = "PIPELINING" in self._offered
        self._state: Literal["ready", "to be reset", "busy", "taking"] = "ready"

    @property
    def usable(self) -> bool:
        """No transaction is under way, and the server owes and said nothing."""
        return self._state in {"ready", "to be reset"} and self._connection.silent

    def abort(self) -> None:
        """Close at once, without a final dot."""
        self._connection.abort()

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
        return Unreachable(f"the session was lost at {stage.upper()}: {reason}", self.hop.name)
