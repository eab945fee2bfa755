"""Lets ten opens a minute of a delivery and verdict through, so that no flood reaches the broker; pure."""

from __future__ import annotations

from collections.abc import Hashable

WINDOW = 60.0  # seconds
MOST_KEYS = 200_000  # remembered at once; some 50 MB


class Limit:
    """At most `most` admissions of a key in any minute; what is refused does not prolong the wait."""

    def __init__(self, most: int = 10) -> None:
        self._most = most
        self._times: dict[Hashable, list[float]] = {}  # of what was admitted; the key admitted last is the last

    def admits(self, key: Hashable, now: float) -> bool:
        """Whether one more is let through at this time, in seconds of a clock that never goes back."""
        times = self._times.get(key)
        if times is None:
            times = []
        elif len(times) >= self._most and now - times[0] < WINDOW:
            return False
        else:
            del self._times[key]
        times.append(now)
        del times[: -self._most]
        self._times[key] = times
        self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        # Two for one: so there are never many more than a minute's.
        for _ in range(2):
            oldest = next(iter(self._times))
            if now - self._times[oldest][-1] < WINDOW and len(self._times) <= MOST_KEYS:
                return
            del self._times[oldest]
            if not self._times:
                return
