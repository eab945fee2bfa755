"""Lets a few things a minute of each kind through, so that no flood reaches what is behind; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

WINDOW = 60.0  # seconds
MOST_KEYS = 100_000  # remembered at once, in 40 MB; with more in a minute, the first of them may be told of again


class Limit:
    """At most `most` admissions of a key in any minute; what is refused does not prolong the wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        # Of what was admitted, in its order; the first of a dict that shrinks at that end is slow to find.
        self._times: OrderedDict[Hashable, list[float]] = OrderedDict()

    def admits(self, key: Hashable, now: float) -> bool:
        """Whether one more is let through at this time, in seconds of a clock that never goes back."""
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = []
        elif len(times) >= self._most and now - times[0] < WINDOW:
            return False
        else:
            self._times.move_to_end(key)
        times.append(now)
        del times[: -self._most]
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
