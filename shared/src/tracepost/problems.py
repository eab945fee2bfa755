"""Problem documents (RFC 9457): how a fault is told, over HTTP and beside a dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

PROBLEM_TYPE = "application/problem+json"
MOST_FAULTS = 50
MOST_BYTES = 8_000
MOST_READ = 1_000


class Fault(BaseModel):
    """One thing that is wrong, and where: `pointer` is a JSON Pointer (RFC 6901)."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    detail: str


class Problem(BaseModel):
    """What went wrong, with a stable `code` for programs and words for people."""

    model_config = ConfigDict(frozen=True)

    code: str
    title: str
    status: int = 422
    detail: str | None = None
    errors: tuple[Fault, ...] = ()
    more_errors: int = Field(0, description="faults left out to keep the document short")

    def document(self) -> bytes:
        """The problem as JSON, at most MOST_BYTES long."""
        detail = self.detail if self.detail is None or len(self.detail) <= 1000 else self.detail[:999] + "…"
        shown = self.model_copy(update={"detail": detail})
        while len(text := shown._json()) > MOST_BYTES and shown.errors:
            kept = shown.errors[: len(shown.errors) // 2]
            shown = shown.model_copy(
                update={"errors": kept, "more_errors": self.more_errors + len(self.errors) - len(kept)}
            )
        return text

    def _json(self) -> bytes:
        members = {"type": f"urn:tracepost:problem:{self.code}", **self.model_dump(exclude_defaults=True)}
        return to_json(members | {"status": self.status})


class Invalid(Exception):
    """Input that can never be accepted; carries the problem to tell."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


def from_validation(error: ValidationError, code: str, title: str, *, union: bool = False) -> Problem:
    """Name every fault that pydantic found."""
    return of_faults(faults(error, union=union), code, title)


def faults(error: ValidationError, *, union: bool = False) -> list[Fault]:
    """What pydantic found, by JSON Pointer; of a union's faults, the first part of the place is its tag."""
    if error.error_count() > MOST_READ:  # to list them all would take seconds
        return [
            Fault(pointer="", detail=f"has {error.error_count()} faults; hold it against the contract's JSON Schema")
        ]
    return [
        Fault(pointer=_pointer(each["loc"][union:]), detail=_remedy(each))
        for each in error.errors(include_url=False, include_input=False)
    ]


def repeated(names: Sequence[str]) -> list[Fault]:
    """The names that are there more than once: of their values one would be passed over without a word."""
    detail = "is given more than once; give it once"
    return [Fault(pointer=_pointer([name]), detail=detail) for name, count in Counter(names).items() if count > 1]


def of_faults(faults: Sequence[Fault], code: str, title: str) -> Problem:
    """A problem that names the first faults, and counts the others."""
    more = max(0, len(faults) - MOST_FAULTS)
    return Problem(code=code, title=title, errors=tuple(faults[:MOST_FAULTS]), more_errors=more)


def _pointer(loc: Iterable[int | str]) -> str:
    # "[key]" behind a key is how pydantic says that the key of a mapping is at fault, not its value.
    parts = [str(part) for part in loc]
    if len(parts) > 2 and parts[-1] == "[key]":
        parts.pop()
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _remedy(fault: Any) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "unknown field: remove it, or check its spelling"
        case "missing":
            return "required, but absent"
        case "json_invalid":
            return f"the body is not JSON: {fault['ctx']['error']}"
        case "value_error":
            return str(fault["ctx"]["error"])
        case _:
            return str(fault["msg"])
