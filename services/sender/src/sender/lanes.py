"""How many attempts of each lane may begin; pure."""

from __future__ import annotations

from math import ceil
from typing import Literal, NamedTuple

Lane = Literal["normal", "bulk"]

# A normal-lane request never waits for a bulk run: bulk may have this share of the slots.
BULK_SHARE = 0.5


class Slots(NamedTuple):
    """Attempts that may begin now."""

    normal: int
    bulk: int


def free(concurrency: int, normal: int, bulk: int) -> Slots:
    """With so many under way in each lane."""
    left = max(0, concurrency - normal - bulk)
    return Slots(left, max(0, min(left, ceil(concurrency * BULK_SHARE) - bulk)))
