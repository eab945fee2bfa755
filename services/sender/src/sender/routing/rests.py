"""Servers that could not be had lately are left alone for a while, then tried by one attempt first; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from sender.routing.hops import Hop

MOST = 10_000  # servers that are remembered
KEPT_SECONDS = 600.0  # after a rest, where nobody asks for the server any more


@dataclass(slots=True)
class _Rest:
    """`tried`: one attempt is let through, which the others wait for no longer than `until`."""

    seconds: float
    until: float
    tried: bool = False


class Rests:
    """The servers that rest; times are in seconds and never go back.

    A rest is doubled when the attempt after it fails.
    """

    def __init__(self, first: float = 1.0, longest: float = 60.0) -> None:
        self._first, self._longest = first, longest
        self._rests: OrderedDict[Hop, _Rest] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rests)

    def well(self, hop: Hop) -> None:
        """It was reached."""
        self._rests.pop(hop, None)

    def away(self, hop: Hop, now: float) -> None:
        """It was not; who had begun before the others knew says nothing new."""
        rest = self._rests.get(hop)
        if rest is None or rest.tried or now >= rest.until:
            seconds = min(self._longest, rest.seconds * 2) if rest else self._first
            self._rests[hop] = _Rest(seconds, now + seconds)
            self._rests.move_to_end(hop)
            self._forget(now)

    def order(self, hops: Sequence[Hop], now: float) -> Sequence[Hop]:
        """The same, those that rest last; the caller tries them in this order, and is the one who tries what is due."""
        if self._rests and len(hops) > 1:
            resting = [hop for hop in hops if self._is_resting(hop, now)]
            hops = [*(hop for hop in hops if hop not in resting), *resting]
        self._try(hops[0], now)
        return hops

    def room(self, hops: Sequence[Hop], now: float) -> int | None:
        """How many attempts may begin by these: None for any number, 1 where one is to try first, 0 while all rest."""
        if not self._rests or any(hop not in self._rests for hop in hops):
            return None
        return 0 if all(self._is_resting(hop, now) for hop in hops) else 1

    def begin(self, hops: Sequence[Hop], now: float) -> None:
        """An attempt by these begins: where all rest, it is the one that tries the first that is due."""
        if self.room(hops, now) == 1:
            self._try(next(hop for hop in hops if not self._is_resting(hop, now)), now)

    def _try(self, hop: Hop, now: float) -> None:
        rest = self._rests.get(hop)
        if rest and now >= rest.until:
            rest.until, rest.tried = now + rest.seconds, True

    def _is_resting(self, hop: Hop, now: float) -> bool:
        rest = self._rests.get(hop)
        return rest is not None and now < rest.until

    def _forget(self, now: float) -> None:
        """The servers that were away the longest time ago."""
        while len(self._rests) > MOST or next(iter(self._rests.values())).until + KEPT_SECONDS < now:
            self._rests.popitem(last=False)
