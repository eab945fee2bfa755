"""Times as clients write them: with their zone, and never as a number, whose unit would have to be guessed; pure."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator

from tracepost.events import Utc


def written(told: object) -> datetime:
    """The time that a text is (RFC 3339, or what else ISO 8601 allows); ValueError says how to write one."""
    if isinstance(told, datetime):
        return told
    with suppress(TypeError, ValueError):
        time = datetime.fromisoformat(told)  # type: ignore[arg-type]  # a TypeError, if it is no text
        if time.tzinfo is not None:
            return time
    raise ValueError("is no time with its zone; write it as 2026-03-04T12:30:00Z")


Time = Annotated[Utc, BeforeValidator(written)]
