"""Says who may use a connection: in order for a hop, hops in turn when all are taken; by asyncio."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from sender.routing.hops import Hop


@dataclass(slots=True, eq=False)
class _Lane:
    held: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Slots:
    """A slot is one of `overall` and one of its hop's `connections`; both may be given back apart."""

    def __init__(self, connections: int, overall: int) -> None:
        self._connections, self.free = connections, overall
        self._lanes: dict[Hop, _Lane] = {}
        # Hops with waiters whom only `overall` keeps waiting.
        self._due: OrderedDict[Hop, _Lane] = OrderedDict()

    async def acquire(self, hop: Hop) -> None:
        """Wait for a slot; a cancelled waiter has none."""
        lane = self._lane(hop)
        if self.free and lane.held < self._connections:
            self._take(lane)
            return
        future = asyncio.get_running_loop().create_future()
        lane.waiting.append(future)
        self._look(hop, lane)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._forget(hop, lane, future)
            else:  # it was granted in the same moment
                self.release(hop)
            raise

    def release(self, hop: Hop) -> None:
        """Give the whole slot back."""
        self.free += 1
        self.drop(hop)

    def leave(self) -> None:
        """Give back the one of `overall`, while the hop's stays held for a connection that is being closed."""
        self.free += 1
        self._grant()

    def hold(self, hop: Hop) -> None:
        """Count an idle connection of the hop that is being closed; it had a place already."""
        self._lane(hop).held += 1

    def drop(self, hop: Hop) -> None:
        """Give back the hop's."""
        lane = self._lanes[hop]
        lane.held -= 1
        self._look(hop, lane)
        self._grant()

    def _grant(self) -> None:
        while self.free and self._due:
            hop, lane = self._due.popitem(last=False)
            future = lane.waiting.popleft()
            if not future.done():
                self._take(lane)
                future.set_result(None)
            self._look(hop, lane)

    def _look(self, hop: Hop, lane: _Lane) -> None:
        """Note a hop as due, or no longer, or forget it."""
        if lane.waiting and lane.held < self._connections:
            self._due.setdefault(hop, lane)
        else:
            self._due.pop(hop, None)
        if not lane.waiting and not lane.held:
            self._lanes.pop(hop, None)

    def _forget(self, hop: Hop, lane: _Lane, future: asyncio.Future[None]) -> None:
        if future in lane.waiting:  # else it was passed over already, and the lane may be gone
            lane.waiting.remove(future)
            self._look(hop, lane)

    def _lane(self, hop: Hop) -> _Lane:
        lane = self._lanes.get(hop)
        if lane is None:
            lane = self._lanes[hop] = _Lane()
        return lane

    def _take(self, lane: _Lane) -> None:
        self.free -= 1
        lane.held += 1
