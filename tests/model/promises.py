"""What the protocol promises: each is held against every step that can be taken, as the world was and as it became."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.model.protocol import FINAL_REPLIES
from tests.model.world import Delivery, Step, World

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
    return step.action != "doubt" or not any(
        was.suppressed and went_in_doubt(was, now) for was, now in rows(world, step)
    )


def answered_are_spared(world: World, step: Step) -> bool:
    """No attempt goes in doubt when a final reply to another is on the record."""
    return step.action != "doubt" or not any(was.replied and went_in_doubt(was, now) for was, now in rows(world, step))


def replies_are_recorded(world: World, step: Step) -> bool:
    """No sender that lives drops a final reply that the delivery does not know of."""
    dropped = [was for was, now in zip(world.senders, step.world.senders, strict=True) if was != now]
    return step.action != "forget" or not any(
        each.result in FINAL_REPLIES and not knows(world.deliveries[each.no]) for each in dropped
    )


def events_tell_the_outcomes(_: World, step: Step) -> bool:
    """Every outcome in the table has its event in the outbox or at the broker, and every event its outcome."""
    return step.world.untold == step.world.outbox


def rows(world: World, step: Step) -> list[tuple[Delivery, Delivery]]:
    """Each row before and after."""
    return list(zip(world.deliveries, step.world.deliveries, strict=True))


def went_in_doubt(was: Delivery, now: Delivery) -> bool:
    return was.state != "in_doubt" and now.state == "in_doubt"


def knows(row: Delivery) -> bool:
    return row.state == "done" or row.answered


PROMISES: Mapping[str, Promise] = MappingProxyType(
    {
        "each extra copy follows a recorded unknown outcome": copies_follow_unknowns,
        "park sends no second copy unasked": park_waits_for_a_person,
        "nothing is sent after a confirmed cancel": a_cancel_holds,
        "no final dot for a suppressed address": suppressed_are_spared,
        "no further attempt after a final reply": answered_are_spared,
        "a final reply is never dropped": replies_are_recorded,
        "every outcome has its event, and every event its outcome": events_tell_the_outcomes,
    }
)
