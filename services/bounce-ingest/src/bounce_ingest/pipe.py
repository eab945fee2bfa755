"""Takes one mail from standard input, for a mail server that runs a program for each: 0 when it is safe, else 75."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import BinaryIO

from pydantic import ValidationError

from bounce_ingest.settings import BounceIngestSettings
from tracepost import logs
from tracepost.settings import explain

PIECE = 1024 * 1024
START_SECONDS = 60.0  # in which what it needs must be there

# Takes a mail that came for these addresses; fails if it is not safe.
Take = Callable[[BounceIngestSettings, Sequence[str], bytes], Awaitable[None]]


def main(take: Take, addresses: Sequence[str]) -> int:
    """Returns the exit code: whatever is wrong may be right later, and the mail server keeps the mail until then."""
    try:
        settings = BounceIngestSettings.read(parsers=1, migrate=False)
        logs.configure(settings.service, "WARNING")
        mail = _read(sys.stdin.buffer, settings.kept_bytes)
        asyncio.run(_take(take, settings, addresses, mail))
    except Exception as error:
        print(f"not taken, try again: {_reason(error)}", file=sys.stderr)  # noqa: T201 - the mail server's log has it
        return os.EX_TEMPFAIL
    return os.EX_OK


def _reason(error: Exception) -> str:
    """That of the first of a group, which says nothing itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return explain(error, BounceIngestSettings.service) if isinstance(error, ValidationError) else str(error)


async def _take(take: Take, settings: BounceIngestSettings, addresses: Sequence[str], mail: bytes) -> None:
    async with asyncio.timeout(START_SECONDS + settings.confirm_within):
        await take(settings, addresses, mail)


def _read(mail: BinaryIO, keep: int) -> bytes:
    """Its beginning; all of it is read, for a mail server takes a broken pipe for a failure."""
    kept = mail.read(keep)
    while mail.read(PIECE):
        pass
    return kept
