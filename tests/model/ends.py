"""The protocol's two ends at the broker: requests come in at least once, and events go out at least once."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.weaknesses import Weakness
from tests.model.world import Rules, State, Step, World, recorded


def intake(world: World, rules: Rules) -> Iterator[Step]:
    """Take a request from the broker, insert its rows once, acknowledge it; a crash gives it back to the broker."""
    if world.intake == "idle" and world.broker:
        yield Step("take", "intake takes the request", world._replace(intake="holds", broker=world.broker - 1))
    if world.intake == "holds":
        yield from insert(world, rules)
    if world.intake == "committed":
        yield Step("ack", "intake acknowledges the request", world._replace(intake="idle"))
    if world.intake != "idle" and world.crashes:
        back = 0 if Weakness.ACK_BEFORE_COMMIT in rules.without else 1
        lost = world._replace(intake="idle", broker=world.broker + back, crashes=world.crashes - 1)
        yield Step("crash", f"intake crashes when it {world.intake} the request", lost)


def insert(world: World, rules: Rules) -> Iterator[Step]:
    """Commit the rows of a request, each with its `accepted` event; those of a known one stay as they are."""
    committed = world._replace(intake="committed")
    if world.deliveries[0].state != "absent" and Weakness.INTAKE_WITHOUT_KEY not in rules.without:
        yield Step("known", "intake finds the request known and commits nothing", committed)
        return
    starts: tuple[State, ...] = ("ready", "waiting")
    for state in starts:
        rows = tuple(row._replace(state=state, tried=0) for row in world.deliveries)
        after = committed._replace(deliveries=rows)
        for _ in rows:
            after = recorded(after, rules)
        yield Step("intake", f"intake commits the request, {state}", after)


def publish(world: World, rules: Rules) -> Iterator[Step]:
    """Publish the oldest event, delete it when the broker has confirmed it; a crash between publishes it again."""
    early = Weakness.DELETE_UNCONFIRMED in rules.without
    if world.outbox and not world.publishing:
        published = world._replace(publishing=True, outbox=world.outbox - early)
        yield Step("publish", "the oldest event is published", published)
    if world.publishing:
        confirmed = world._replace(publishing=False, untold=world.untold - 1, outbox=world.outbox - (not early))
        yield Step("confirm", "the broker confirms the event, and it is deleted", confirmed)
    if world.publishing and world.crashes:
        crashed = world._replace(publishing=False, crashes=world.crashes - 1)
        yield Step("crash", "the publisher crashes before the confirm", crashed)
