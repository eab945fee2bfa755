"""What commands print: JSON for programs; tables and lines for people, in which nothing steers the terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WIDTH = 200  # of what goes into a file or a pipe
STYLES = {
    "delivered": "green",
    "read": "bold green",
    "deferred": "yellow",
    "unknown": "yellow",
    **dict.fromkeys(("spam", "hard_bounce", "rejected", "failed"), "bold red"),
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
}

# What a terminal takes for a command, or for a change of direction: remote servers' words may hold it.
_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Told = TypeVar("Told")


def plain(text: object) -> str:
    """The text, with a mark in place of what would steer a terminal."""
    return _STEERING.sub("\ufffd", "" if text is None else str(text).replace("\r\n", "\n"))


def tell(told: Told, as_json: bool, show: Callable[[Told], object]) -> None:
    """Print it as JSON, or have it shown."""
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        show(told)


def stream(told: object) -> None:
    """A line of JSON, at once."""
    typer.echo(json.dumps(told, ensure_ascii=False))
    sys.stdout.flush()


def console() -> Console:
    """Standard output."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)


def table(names: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Rows under their names; a cell that is the name of a status or level has its colour."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        drawn.add_column(name, overflow="fold", no_wrap=name == "id")
    for row in rows:
        drawn.add_row(*(Text(plain(each), style=STYLES.get(str(each), "")) for each in row))
    console().print(drawn if drawn.row_count else empty)


def lines(told: Mapping[str, object]) -> None:
    """Names and values that are not empty."""
    shown = {name: plain(value) for name, value in told.items() if value not in (None, "", [], {}, ())}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        console().print(f"{name:<{width}}  {value}", soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """A line for people."""
    console().print(plain(text), style=style, soft_wrap=True)


def moment(text: str | None) -> str:
    """A time as people read it, in UTC."""
    return text[:19].replace("T", " ") + "Z" if text else ""


def note(text: str) -> None:
    """A line beside the answer: on standard error, so that it stands in nobody's way."""
    typer.echo(plain(text), err=True)


def progress() -> AbstractContextManager[Progress]:
    """A bar for work that takes a while: on standard error, and only where somebody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def confirm(question: str, yes: bool) -> None:
    """Go on only if somebody says so."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def as_list(value: Any) -> str:
    """Several values in a cell."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
