"""What a state of the world consists of: rows, senders, the request on its way in, events on their way out."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tests.model.weaknesses import Weakness

State = Literal["absent", "ready", "waiting", "leased", "in_doubt", "parked", "done"]
Result = Literal["", "delivered", "refused", "deferred", "unknown", "suppressed", "expired"]


class Rules(NamedTuple):
    """How often a delivery is tried, what the protocol is left without, and whether the search may spare itself work."""

    attempts: int = 2
    without: frozenset[Weakness] = frozenset()
    publisher_first: bool = True


class Delivery(NamedTuple):
    """A row of the table, and below it what only the promises need to know."""

    park: bool = False
    state: State = "absent"
    fence: int = 0
    attempt: int = 0
    answered: bool = False  # a late final reply is on the record, and the attempt in doubt is the last

    suppressed: bool = False
    asked: bool = False  # a person had the parked delivery tried again
    copies: int = 0  # that the recipient's server took
    unknowns: int = 0  # outcomes recorded as unknown
    replied: bool = False  # a late final reply is on the record, and the row is not done
    called_off: bool = False  # a cancel or a give-up was confirmed


class Sender(NamedTuple):
    """A sender process and the one attempt that it makes."""

    # idle → leased → doubted → sent (the final dot) → answered (the reply is under way) → knows (has a result to record);
    # from doubted to overdue when the in_doubt lease ends first.
    doing: Literal["idle", "leased", "doubted", "overdue", "sent", "answered", "knows"] = "idle"
    no: int = 0
    fence: int = 0
    result: Result = ""


class World(NamedTuple):
    """One request for one or more recipients, and all who work on it."""

    deliveries: tuple[Delivery, ...]
    senders: tuple[Sender, ...]
    broker: int  # copies of the request in the broker's queue: it delivers at least once
    crashes: int  # that may still come
    intake: Literal["idle", "holds", "committed"] = "idle"
    untold: int = 0  # outcomes in the table whose event no confirm of the broker covers
    outbox: int = 0  # events in it
    publishing: bool = False  # the oldest is at the broker, the confirm under way


class Step(NamedTuple):
    """What happened, in one word and in a line for people, and the world after it."""

    action: str
    words: str
    world: World


def recorded(world: World, rules: Rules) -> World:
    """One more outcome in the table, and by the same transaction its event in the outbox."""
    together = Weakness.EVENT_AFTER not in rules.without
    return world._replace(untold=world.untold + 1, outbox=world.outbox + together)


def with_row(world: World, no: int, row: Delivery) -> World:
    """The world with another row of a recipient."""
    return world._replace(deliveries=(*world.deliveries[:no], row, *world.deliveries[no + 1 :]))


def with_copy(world: World, no: int) -> World:
    """The world in which the recipient's server has one more copy."""
    row = world.deliveries[no]
    return with_row(world, no, row._replace(copies=row.copies + 1))


def with_sender(world: World, who: int, sender: Sender) -> World:
    """The world with a sender that does something else."""
    return world._replace(senders=(*world.senders[:who], sender, *world.senders[who + 1 :]))


def freed(world: World, who: int) -> World:
    """The world in which a sender has nothing to do."""
    return with_sender(world, who, Sender())


def changed(world: World, action: str, no: int, row: Delivery, words: str) -> Step:
    """A step that changes a row alone."""
    return Step(action, words, with_row(world, no, row))


def learnt(world: World, who: int, result: Result, words: str) -> Step:
    """A step by which a sender has a result to record."""
    return told("learn", who, words, with_sender(world, who, world.senders[who]._replace(doing="knows", result=result)))


def told(action: str, who: int, words: str, world: World) -> Step:
    """A step of a sender."""
    return Step(action, f"{letter(who)} {words}", world)


def letter(who: int) -> str:
    """What a sender is called."""
    return "ABC"[who]
