"""Reads dead letters: where they died and why; pure, and total, for there is no queue behind this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from tracepost.events import derived_id, storable

# Our own headers; the rest of a letter's headers are those of the message that died.
OURS = "tracepost-"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One element that could not be processed; `exchange` is empty where it came by no exchange of ours."""

    id: UUID
    queue: str
    exchange: str
    routing_key: str
    code: str
    problem: Any  # JSON as text, or what can be made JSON
    app: str | None
    content_type: str | None
    headers: dict[str, str]
    body: bytes
    died_at: datetime


def letter(
    body: bytes, headers: Mapping[str, Any], message_id: str | None, routing_key: str, content_type: str | None
) -> DeadLetter:
    """A letter that a service published with its reason, or one that the broker set apart at its limit."""
    told = {storable(name): storable(str(value)) for name, value in headers.items() if value is not None}
    routing_key = storable(routing_key)
    return DeadLetter(
        id=derived_id("dead", message_id or body.hex(), told.get("tracepost-time"), routing_key),
        queue=told.get("tracepost-queue") or told.get("x-first-death-queue") or routing_key,
        exchange=told.get("tracepost-exchange") or told.get("x-first-death-exchange", ""),
        routing_key=told.get("tracepost-routing-key") or _first_key(headers),
        code=told.get("tracepost-code") or told.get("x-first-death-reason", "unknown"),
        problem=_problem(told.get("tracepost-problem")),
        app=told.get("tracepost-app"),
        content_type=content_type and storable(content_type),
        headers={name: value for name, value in told.items() if not name.startswith(("x-", OURS))},
        body=body,
        died_at=_time(told.get("tracepost-time")),
    )


def _first_key(headers: Mapping[str, Any]) -> str:
    """The routing key before the broker's dead-lettering changed it."""
    try:
        return storable(str(headers["x-death"][-1]["routing-keys"][0]))
    except (KeyError, IndexError, TypeError):
        return ""


def _problem(text: str | None) -> str | None:
    """What jsonb takes of it: it has no NaN, no infinity and no U+0000, which a name in a refused event may hold."""
    if text is None:
        return None
    try:
        found = from_json(text)
    except ValueError:
        found = text
    document = found if isinstance(found, dict) else {"detail": text}
    return to_json(document, inf_nan_mode="null").decode().replace("\\u0000", "\\ufffd")


def _time(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.now(UTC)
