"""Says who may use a connection: in order within a route, routes in turn when all are taken; by asyncio."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from sender.routes import Route


@dataclass(slots=True, eq=False)
class _Lane:
    held: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Slots:
    """A slot is one of `overall` and one of its route's `connections`; both may be given back apart."""

    def __init__(self, connections: int, overall: int) -> None:
        self._connections, self.free = connections, overall
        self._lanes: dict[Route, _Lane] = {}
        # Routes with waiters whom only `overall` keeps waiting.
        self._due: OrderedDict[Route, _Lane] = OrderedDict()

    async def acquire(self, route: Route) -> None:
        """Wait for a slot; a cancelled waiter has none."""
        lane = self._lane(route)
        if self.free and lane.held < self._connections:
            self._take(lane)
            return
        future = asyncio.get_running_loop().create_future()
        lane.waiting.append(future)
        self._look(route, lane)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._forget(route, lane, future)
            else:  # it was granted in the same moment
                self.release(route)
            raise

    def release(self, route: Route) -> None:
        """Give the whole slot back."""
        self.free += 1
        self.drop(route)

    def leave(self) -> None:
        """Give back the one of `overall`, while the route's stays held for a connection that is being closed."""
        self.free += 1
        self._grant()

    def hold(self, route: Route) -> None:
        """Count an idle connection of the route that is being closed; it had a place already."""
        self._lane(route).held += 1

    def drop(self, route: Route) -> None:
        """Give back the route's."""
        lane = self._lanes[route]
        lane.held -= 1
        self._look(route, lane)
        self._grant()

    def _grant(self) -> None:
        while self.free and self._due:
            route, lane = self._due.popitem(last=False)
            future = lane.waiting.popleft()
            if not future.done():
                self._take(lane)
                future.set_result(None)
            self._look(route, lane)

    def _look(self, route: Route, lane: _Lane) -> None:
        """Note a route as due, or no longer, or forget it."""
        if lane.waiting and lane.held < self._connections:
            self._due.setdefault(route, lane)
        else:
            self._due.pop(route, None)
        if not lane.waiting and not lane.held:
            self._lanes.pop(route, None)

    def _forget(self, route: Route, lane: _Lane, future: asyncio.Future[None]) -> None:
        if future in lane.waiting:  # else it was passed over already, and the lane may be gone
            lane.waiting.remove(future)
            self._look(route, lane)

    def _lane(self, route: Route) -> _Lane:
        lane = self._lanes.get(route)
        if lane is None:
            lane = self._lanes[route] = _Lane()
        return lane

    def _take(self, lane: _Lane) -> None:
        self.free -= 1
        lane.held += 1
