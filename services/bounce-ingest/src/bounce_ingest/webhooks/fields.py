"""Reads what providers write as JSON: a missing member is an empty one, a wrong type is a TypeError."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from bounce_ingest.webhooks.values import Refused


def document(body: bytes | str) -> Any:
    """JSON; Refused for anything else."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("unreadable", "the body is not JSON") from None


def batch(body: bytes | str) -> list[object]:
    """A JSON list; Refused for anything else."""
    found = document(body)
    if not isinstance(found, list):
        raise Refused("not-a-batch", "the body must be a JSON list of events")
    return found


def raw(element: object) -> bytes:
    """An element of a call as JSON again."""
    # As it is, so that addresses in it are found; half a surrogate pair becomes the escape that it was.
    return json.dumps(element, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def at(of: object, *path: str) -> Any:
    """What stands at the end of a path, None where something is missing."""
    for name in path:
        if of is None or of == []:  # PHP writes an empty map as []
            return None
        if not isinstance(of, dict):
            raise TypeError(f"{name} stands in no object")
        of = of.get(name)
    return of


def text(of: object, *path: str) -> str:
    """A text, also of a number; empty where it is missing."""
    match at(of, *path):
        case None:
            return ""
        case str(found):
            return found
        case int() | float() as found if not isinstance(found, bool):
            return str(found)
        case _:
            raise TypeError(f"{path[-1] if path else 'it'} is no text")


def number(of: object, *path: str) -> int | None:
    """A whole number, also one that is written as a text."""
    found = text(of, *path).strip()
    return int(found) if found.isascii() and found.isdecimal() and len(found) < 10 else None


def items(of: object, *path: str) -> list[Any]:
    """A list; empty where it is missing."""
    found = at(of, *path)
    if found is None:
        return []
    if not isinstance(found, list):
        raise TypeError(f"{path[-1] if path else 'it'} is no list")
    return found


def return_path(of: object, *path: str) -> str:
    """The local part of an envelope's sender, where that is a return path of ours."""
    local = text(of, *path).rpartition("@")[0]
    return local if local.lower().startswith("b+") else ""


def epoch(value: object) -> datetime:
    """A time in seconds since 1970, as a number or a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("it is no time in seconds")
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (OverflowError, OSError):
        raise ValueError("it is a time beyond the calendar") from None


def iso(value: object) -> datetime:
    """A time in the form of ISO 8601; UTC where it names no zone."""
    if not isinstance(value, str):
        raise TypeError("it is no time in ISO 8601")
    found = datetime.fromisoformat(value)
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("it is a time beyond the calendar") from None
