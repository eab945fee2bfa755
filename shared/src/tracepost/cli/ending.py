"""How a command ends: its exit code (as in sysexits.h), and what it says of faults, each with its place and remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from tracepost.problems import Problem

ISSUE = 1  # the answer is no good news, or there is no such thing
STOPPED = 130  # as a shell tells of Ctrl-C

Answer = TypeVar("Answer")


def finished(work: Coroutine[Any, Any, Answer], as_json: bool = False) -> Answer:
    """What the work comes to; whatever keeps it from that ends the command."""
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except BrokenPipeError:  # who read has enough; click ends quietly then
        raise
    except Exception as error:
        if (code := code_of(error)) is None:
            raise
        end(code, error, as_json)


def end(code: int, error: Exception, as_json: bool = False) -> NoReturn:
    """Say on standard error what is wrong, and stop."""
    problem = _problem(code, error)
    if as_json:
        typer.echo(problem.document().decode(), err=True)
    else:
        typer.echo("\n".join(_lines(problem)), err=True)
    sys.exit(code)


def refuse(words: str) -> NoReturn:
    """A wrong use of the command."""
    raise typer.BadParameter(words)


def code_of(error: Exception) -> int | None:
    """The exit code that tells of the fault; None: it is one of ours, for which a traceback says more."""
    from tracepost.client.faults import Refused, Unanswered, Unconfirmed, Unreachable
    from tracepost.runner import Unavailable

    match error:
        case Refused(problem=problem):
            return _of_status(problem.status)
        case Unreachable() | Unavailable():
            return os.EX_UNAVAILABLE
        case Unconfirmed() | Unanswered():
            return os.EX_TEMPFAIL
        case TimeoutError():
            return ISSUE
        case PermissionError():
            return os.EX_NOPERM
        case FileNotFoundError() | IsADirectoryError():
            return os.EX_NOINPUT
        case OSError():
            return os.EX_IOERR
        case UnicodeDecodeError():
            return os.EX_DATAERR
    return None


def _of_status(status: int) -> int:
    if status in (401, 403):
        return os.EX_NOPERM
    if status in (404, 409, 410):
        return ISSUE
    if status in (429, 502, 503, 504):
        return os.EX_TEMPFAIL
    return os.EX_DATAERR if status < 500 else os.EX_SOFTWARE


def _problem(code: int, error: Exception) -> Problem:
    from tracepost.client.faults import Refused
    from tracepost.problems import Problem

    if isinstance(error, Refused):
        return error.problem
    return Problem(code=type(error).__name__.lower(), title=str(error), status=0)


def _lines(problem: Problem) -> list[str]:
    from tracepost.cli.telling import plain

    told = [f"error: {problem.title}"]
    if problem.detail:
        told.append(f"  {problem.detail}")
    told += [f"  {each.pointer.removeprefix('/') or 'the whole'}: {each.detail}" for each in problem.errors]
    if problem.more_errors:
        told.append(f"  … and {problem.more_errors} more")
    if problem.status == 401:
        told.append("  give the key as TRACEPOST_API_KEY, or in the file that TRACEPOST_API_KEY_FILE names")
    return [plain(each) for each in told]
