"""Reads settings from the environment: `TRACEPOST_<SERVICE>_<NAME>`, else `TRACEPOST_<NAME>`; `…_FILE` names a file."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "TRACEPOST_"


def told(name: str, service: str = "") -> str | None:
    """What the environment says of a setting, of one service or of all, else None; OSError: its file cannot be read."""
    own = f"{PREFIX}{service.replace('-', '_')}_{name}".upper()
    for each in (own, f"{PREFIX}{name}".upper()) if service else (f"{PREFIX}{name}".upper(),):
        if each in os.environ:
            return os.environ[each]
        if f"{each}_FILE" in os.environ:
            return Path(os.environ[f"{each}_FILE"]).read_text().strip()
    return None
