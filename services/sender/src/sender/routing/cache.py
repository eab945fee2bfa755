"""Keeps what was found for as long as it holds, the least recently used going first; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Cache(Generic[Key, Found]):
    """At most `most` values; times are in seconds and never go back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Key, tuple[Found, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, now: float) -> Found | None:
        """What holds still."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[1] <= now:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def keep(self, key: Key, found: Found, until: float) -> None:
        """Remember this until then."""
        self._kept[key] = found, until
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
