"""Crash points: places in the code, by name, at which a test of faults can have the process killed.

`TRACEPOST_CRASH=<name>:<n>` kills it with SIGKILL at the n-th passage of that point, and notes the name in the file
TRACEPOST_CRASH_LOG. Settings are read in settings.py alone; this is the one exception, because a point costs nothing
only if it is known at import whether there is one, and because no service shall have a setting that kills it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

POINTS = (
    "sender.intake-committed",
    "sender.answered",
    "sender.leased",
    "sender.before-doubt",
    "sender.in-doubt",
    "sender.final-dot-answered",
    "sender.settled",
    "sender.outbox-published",
    "status-store.events-inserted",
    "status-store.committed",
    "status-store.numbered",
    "status-store.changes-published",
    "status-store.letters-stored",
    "bounce-ingest.before-publish",
    "bounce-ingest.confirmed",
    "pixel.before-publish",
    "pixel.confirmed",
    "broker.dead-letter-published",
)

Point = Callable[[str], None]


def killing(told: str, log: str | None) -> Point:
    """The point that kills at the passage that `<name>:<n>` tells; ValueError for a name that is not declared."""
    name, _, number = told.partition(":")
    if name not in POINTS:
        raise ValueError(f"TRACEPOST_CRASH names {name!r}; the points are {', '.join(POINTS)}")
    left = int(number or 1)

    def passed(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
        if point == name and left == 0:
            _note(name, log)
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


def _note(name: str, log: str | None) -> None:
    if log:
        with open(log, "a", encoding="ascii") as notes:
            notes.write(f"{name}\n")


def _nothing(_: str) -> None:
    return


_told = os.getenv("TRACEPOST_CRASH")
point: Point = killing(_told, os.getenv("TRACEPOST_CRASH_LOG")) if _told else _nothing
