"""What the protocol promises: each is held against every step that can be taken, as the world was and as it became."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from tests.model.world import Delivery, Result, Step, World

Promise = Callable[[World, Step], bool]


def copies_follow_unknowns(_: World, step: Step) -> bool:
    """Each copy but the first follows an outcome that was recorded as unknown."""
    return all(row.copies <= 1 + row.unknowns for row in step.world.deliveries)


def park_waits_for_a_person(_: World, step: Step) -> bool:
    """What is to be parked is never sent again unasked."""
    return all(row.copies <= 1 + row.asked for row in step.world.deliveries if row.park)


def a_cancel_holds(world: World, step: Step) -> bool:
    """Nothing is taken by a server after a cancel or give-up was confirmed."""
    return not any(was.called_off and now.copies > was.copies for was, now in rows(world, step))


def suppressed_are_spared(world: World, step: Step) -> bool:
    """No final dot is prepared for an address that is suppressed by then."""
    return not any(was.suppressed for was in put_in_doubt(world, step))


def answered_are_spared(world: World, step: Step) -> bool:
    """No attempt goes in doubt when a final reply to another is on the record."""
    return not any(was.replied for was in put_in_doubt(world, step))


def is_recorded(reply: Result, world: World, step: Step) -> bool:
    """No sender that lives drops a final reply that the delivery does not know of."""
    if step.action != "forget":
        return True
    before_after = zip(world.senders, step.world.senders, strict=True)
    return all(was == now or was.result != reply or knows(world.deliveries[was.no]) for was, now in before_after)


def events_tell_the_outcomes(_: World, step: Step) -> bool:
    """Every outcome in the table has its event in the outbox or at the broker, and every event its outcome."""
    return step.world.untold == step.world.outbox


def rows(world: World, step: Step) -> list[tuple[Delivery, Delivery]]:
    """Each row before and after."""
    return list(zip(world.deliveries, step.world.deliveries, strict=True))


def put_in_doubt(world: World, step: Step) -> list[Delivery]:
    """The row whose doubt was committed, if one was, as it was before."""
    if step.action != "doubt":
        return []
    return [was for was, now in rows(world, step) if was != now]


def knows(row: Delivery) -> bool:
    return row.state == "done" or row.answered


PROMISES: Mapping[str, Promise] = MappingProxyType(
    {
        "each extra copy follows a recorded unknown outcome": copies_follow_unknowns,
        "park sends no second copy unasked": park_waits_for_a_person,
        "nothing is sent after a confirmed cancel": a_cancel_holds,
        "no final dot for a suppressed address": suppressed_are_spared,
        "no further attempt after a final reply": answered_are_spared,
        "a 250 is never dropped": partial(is_recorded, "delivered"),
        "a 5xx is never dropped": partial(is_recorded, "refused"),
        "every outcome has its event, and every event its outcome": events_tell_the_outcomes,
    }
)
