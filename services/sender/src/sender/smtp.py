"""Speaks SMTP to the relay, by aiosmtplib."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiosmtplib

from sender.outcome import Lost, Reply, Unreachable
from tracepost import crash
from tracepost.bounces.classify import Stage


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server that takes our mail; `timeout` is per command, in seconds."""

    host: str
    port: int
    hostname: str
    timeout: float


class Failed(Exception):
    """The session ended without the message being accepted; carries why."""

    def __init__(self, result: Reply | Unreachable | Lost) -> None:
        super().__init__(str(result))
        self.result = result


@dataclass(frozen=True, slots=True)
class Transaction:
    """One mail transaction; each step raises Failed with what the server said."""

    client: aiosmtplib.SMTP
    remote: str

    async def envelope(self, return_path: str, recipient: str) -> None:
        """MAIL and RCPT."""
        await self._command("mail", self.client.mail(return_path))
        await self._command("rcpt", self.client.rcpt(recipient))

    async def message(self, content: bytes) -> Reply:
        """DATA and the message to its final dot: from here on a lost session leaves the outcome unknown."""
        try:
            response = await self.client.data(content)
            crash.point("sender.final-dot-answered")
        except aiosmtplib.SMTPResponseException as error:
            if 400 <= error.code < 600:
                raise Failed(Reply("data", error.code, error.message, self.remote)) from None
            raise Failed(Lost(f"the reply after DATA is no SMTP: {error.message}", self.remote)) from None
        except Exception as error:
            raise Failed(Lost(f"the session was lost after DATA: {error}", self.remote)) from None
        return Reply("data", response.code, response.message, self.remote)

    async def _command(self, stage: Stage, command: Awaitable[object]) -> None:
        try:
            await command
        except aiosmtplib.SMTPResponseException as error:
            raise Failed(Reply(stage, error.code, error.message, self.remote)) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Failed(Unreachable(f"the session was lost at {stage.upper()}: {error}", self.remote)) from None


@asynccontextmanager
async def transaction(relay: Relay) -> AsyncIterator[Transaction]:
    """A session with the relay, greeted; Failed when there is none to be had."""
    remote = f"{relay.host}:{relay.port}"
    client = aiosmtplib.SMTP(
        hostname=relay.host, port=relay.port, local_hostname=relay.hostname, timeout=relay.timeout, start_tls=False
    )
    try:
        await client.connect()
        await client.ehlo()
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        raise Failed(Reply("connect", error.code, error.message, remote)) from None
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        client.close()
        raise Failed(Unreachable(f"no session: {error}", remote)) from None
    try:
        yield Transaction(client, remote)
        with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
            await client.quit()
    finally:
        client.close()
