"""How many attempts may begin where relays are away: then their destinations wait in the queue, untried; pure."""

from __future__ import annotations

from sender.lanes import Slots
from sender.pacing import Room
from sender.routing.rests import Rests
from sender.routing.routes import Relays, Routes


class Reach:
    """What can be had of the relays; times are in seconds and never go back."""

    def __init__(self, routes: Routes, rests: Rests) -> None:
        self._routes, self._rests = routes, rests

    def free(self, destination: str, free: int, now: float) -> int:
        """Of so many attempts that a destination has room for, those that may begin."""
        return _least(free, self._room(self._routes.to(destination), now)) if self._rests else free

    def begin(self, destination: str, now: float) -> None:
        """An attempt begins."""
        if self._rests and (relays := self._routes.to(destination)):
            self._rests.begin(relays.hops, now)

    def slots(self, slots: Slots, now: float) -> Slots:
        """Of the free slots those that may be used: one, where one attempt is to find out for all."""
        if self._rests and self._room(self._routes.default, now) == 1:
            return Slots(min(1, slots.normal), min(1, slots.bulk))
        return slots

    def room(self, room: Room, now: float) -> Room:
        """The room that destinations have, less what cannot be reached; `others` is for those without an exception."""
        if not self._rests:
            return room
        own = {each: self.free(each, room.known.get(each, room.others), now) for each in self._routes.exceptions}
        known = {each: self.free(each, free, now) for each, free in room.known.items()}
        return Room(room.closed, {**known, **own}, _least(room.others, self._room(self._routes.default, now)))

    def _room(self, relays: Relays | None, now: float) -> int | None:
        return None if relays is None else self._rests.room(relays.hops, now)


def _least(free: int, room: int | None) -> int:
    return free if room is None else min(free, room)
