"""Remembers what has come, so that the same signature cannot stand for something else."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from bounce_ingest.webhooks.signatures import WINDOW

MOST = 100_000


class Replays:
    """What each token came with, for as long as its signature is believed; of one process."""

    def __init__(self) -> None:
        self._came: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()

    def is_first(self, token: str, digest: bytes, now: datetime) -> bool:
        """Whether the token came with nothing else before."""
        self._forget(now)
        _, known = self._came.setdefault(token, (now, digest))
        return known == digest

    def _forget(self, now: datetime) -> None:
        while self._came:
            when, _ = next(iter(self._came.values()))
            if now - when <= 2 * WINDOW and len(self._came) < MOST:
                return
            self._came.popitem(last=False)
