"""Reads settings from the environment: `TRACEPOST_<SERVICE>_<NAME>`, else `TRACEPOST_<NAME>`; `…_FILE` names a file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

PREFIX = "TRACEPOST_"
# Where a service is reached, as clients and other services are told: names that begin as the service's own do.
REACHED = frozenset({"TRACEPOST_SENDER_URL", "TRACEPOST_PIXEL_URL", "TRACEPOST_BOUNCE_INGEST_URL"})
FILE = "_FILE"


def told(name: str, service: str = "") -> str | None:
    """What the environment says of a setting, of one service or of all, else None; OSError: its file cannot be read."""
    for prefix in (prefix_of(service), PREFIX) if service else (PREFIX,):
        each = prefix + name.upper()
        if each in os.environ:
            return os.environ[each]
        if each + FILE in os.environ:
            return Path(os.environ[each + FILE]).read_text().strip()
    return None


def prefix_of(service: str) -> str:
    """How the variables of one service begin."""
    return f"{PREFIX}{service.replace('-', '_')}_".upper()


def unknown(names: Iterable[str], service: str, settings: Iterable[str]) -> list[str]:
    """Of the variables of one service those that name none of its settings, in words, each with what may be meant."""
    prefix, known = prefix_of(service), {each.upper() for each in settings}
    own = (each for each in sorted(names) if each.startswith(prefix) and each.removesuffix(FILE) not in REACHED)
    bare = (each.removeprefix(prefix) for each in own)
    strange = (each for each in bare if not {each, each.removesuffix(FILE)} & known)
    return [f"{prefix}{each} names no setting{_meant(prefix, each, known)}" for each in strange]


def _meant(prefix: str, name: str, known: Collection[str]) -> str:
    stem = name.removesuffix(FILE)
    for told, ending in ((stem, name[len(stem) :]), (name, "")):
        if nearest := get_close_matches(told.upper(), known, n=1):
            return f"; is {prefix}{nearest[0]}{ending} meant?"
    return ""
