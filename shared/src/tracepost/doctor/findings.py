"""What the doctor says of one thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at ("SPF of example.com"), what was seen, and what to do about it, empty when all is well."""

    check: str
    level: Level
    found: str
    remedy: str = ""
