"""The sender's queue protocol as a machine: `steps` tells everything that can happen next in a state of the world."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from typing import Literal, NamedTuple

# There is no clock: what may happen late may happen at any time. A process that stalls is one whose next step comes after
# those of others; a lease that ends under its holder is `lease_ended` or `take_over` between two steps of the holder.
# Times are trusted in two places alone, and both are marked: the final dot's fate is settled before its in_doubt lease ends.

State = Literal["absent", "ready", "waiting", "leased", "in_doubt", "parked", "done"]
Result = Literal["", "delivered", "refused", "deferred", "unknown", "suppressed", "expired"]
FINAL_REPLIES = ("delivered", "refused")
OVER = ("done", "parked")

# Which state may follow which by which action, of all that changes a row: what the statements in SQL are held to.
# Intake and the timer choose by time; `settle` chooses by the outcome; `late` is a final reply under an older fence.
TRANSITIONS: frozenset[tuple[State, str, State]] = frozenset(
    {
        ("absent", "intake", "ready"),
        ("absent", "intake", "waiting"),
        ("waiting", "due", "ready"),
        ("waiting", "retry_now", "ready"),
        ("parked", "retry_now", "ready"),
        ("ready", "lease", "leased"),
        ("leased", "lease_ended", "ready"),
        ("leased", "doubt", "in_doubt"),
        ("leased", "settle", "waiting"),
        ("leased", "settle", "done"),
        ("in_doubt", "take_over", "in_doubt"),
        ("in_doubt", "settle", "waiting"),
        ("in_doubt", "settle", "parked"),
        ("in_doubt", "settle", "done"),
        ("ready", "late", "done"),
        ("waiting", "late", "done"),
        ("leased", "late", "done"),
        ("parked", "late", "done"),
        ("in_doubt", "late", "done"),
        ("in_doubt", "late", "in_doubt"),
        ("ready", "cancel", "done"),
        ("waiting", "cancel", "done"),
        ("leased", "cancel", "done"),
        ("parked", "cancel", "done"),
        ("ready", "give_up", "done"),
        ("waiting", "give_up", "done"),
        ("leased", "give_up", "done"),
        ("parked", "give_up", "done"),
    }
)


class Weakness(StrEnum):
    """What the protocol can be left without, to see that the search notices."""

    NO_DOUBT = "no in_doubt commit: the final dot is sent from `leased`"
    DOUBT_UNFENCED = "the in_doubt commit does not ask for the fence"
    DOUBT_BLIND_TO_CANCEL = "the in_doubt commit does not ask for the state, so it overlooks a cancel"
    DOUBT_BLIND_TO_SUPPRESSION = "the in_doubt commit does not look at the suppressions"
    DOT_WITHOUT_CLOCK = "the final dot is sent without a look at the clock: the in_doubt lease may be over"
    DOUBT_TOO_SHORT = "the in_doubt lease ends while the server may still take the final dot"
    LEASE_END_UNFENCED = "a lease that ends goes back to `ready` under the same fence, so a final reply looks like no late one"
    TAKE_OVER_UNFENCED = "who takes an expired in_doubt over does not raise the fence"
    UNKNOWN_UNRECORDED = "an expired in_doubt goes back to `ready`, and nothing is recorded"
    PARK_RETRIED = "an unknown outcome is tried again although the request says `park`"
    SETTLE_UNFENCED = "settle does not ask for the fence"
    NO_LATE_RULE = "a final reply under an older fence is dropped"
    LATE_GIVES_WAY_TO_TAKER = "a late final reply gives way to any newer fence in doubt, be it of one who only takes over"
    LATE_FORGOTTEN = "a late final reply that gives way to an attempt in doubt leaves no mark on the row"
    IN_DOUBT_CANCELLED = "a cancel is confirmed while the delivery is in doubt"
    EVENT_AFTER = "the event is written after its outcome's transaction, and a crash comes between"
    EVENT_BEFORE = "the event is written before its outcome's transaction, which may then be refused"
    DELETE_UNCONFIRMED = "an event is deleted from the outbox before the broker confirmed it"
    ACK_BEFORE_COMMIT = "a request is acknowledged to the broker before its rows are committed"
    INTAKE_WITHOUT_KEY = "a request that comes again is inserted again"


class Rules(NamedTuple):
    """How often a delivery is tried, and what the protocol is left without."""

    attempts: int = 2
    without: frozenset[Weakness] = frozenset()


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

    # idle → leased → doubted → sent (the final dot) → answered (the reply is under way) → knows (has a result to record)
    doing: Literal["idle", "leased", "doubted", "sent", "answered", "knows"] = "idle"
    no: int = 0
    fence: int = 0
    attempt: int = 0
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


def beginnings(crashes: int, recipients: int = 1, senders: int = 2) -> Iterator[World]:
    """A request that the broker has confirmed to its publisher, who sent it once or, not hearing that, twice."""
    for published in (1, 2):
        for park in (False, True):
            yield World((Delivery(park),) * recipients, (Sender(),) * senders, published, crashes)


def steps(world: World, rules: Rules) -> Iterator[Step]:
    """Everything that can happen next."""
    return chain(
        intake(world, rules),
        *(row_steps(world, no, rules) for no in range(len(world.deliveries))),
        *(sender_steps(world, who, rules) for who in range(len(world.senders))),
        publish(world, rules),
    )


def is_over(world: World) -> bool:
    """Every confirmed request is terminal or parked for each recipient, every event is published, and nobody is at work."""
    at_work = world.broker or world.outbox or world.intake != "idle" or any(each.doing != "idle" for each in world.senders)
    return not at_work and all(row.state in OVER for row in world.deliveries)


# Taking requests in: commit, then acknowledge.


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
    """Commit the rows of a request, each with its `accepted` event; those of a request that is known stay as they are."""
    committed = world._replace(intake="committed")
    if world.deliveries[0].state != "absent" and Weakness.INTAKE_WITHOUT_KEY not in rules.without:
        yield Step("known", "intake finds the request known and commits nothing", committed)
        return
    starts: tuple[State, ...] = ("ready", "waiting")
    for state in starts:
        rows = tuple(row._replace(state=state, attempt=0) for row in world.deliveries)
        after = committed._replace(deliveries=rows)
        for _ in rows:
            after = recorded(after, rules)
        yield Step("intake", f"intake commits the request, {state}", after)


# What happens to a row without a sender: time passes, and people decide.


def row_steps(world: World, no: int, rules: Rules) -> Iterator[Step]:
    """The timer, the end of a lease, what people ask for, and a suppression that arrives."""
    row = world.deliveries[no]
    if row.state == "waiting":
        yield changed(world, "due", no, row._replace(state="ready"), f"recipient {no} is due")
    if row.state == "leased":
        fence = row.fence + (Weakness.LEASE_END_UNFENCED not in rules.without)
        ended = row._replace(state="ready", fence=fence)
        yield changed(world, "lease_ended", no, ended, f"the lease of recipient {no} ends")
    if row.state == "waiting" or (row.state == "parked" and not row.asked):
        asked = row._replace(state="ready", asked=row.asked or row.state == "parked")
        yield changed(world, "retry_now", no, asked, f"a person has recipient {no} tried now")
    if not row.suppressed:
        yield changed(world, "suppress", no, row._replace(suppressed=True), f"the address of recipient {no} is suppressed")
    if row.state in ("ready", "waiting", "parked", "leased") or may_cancel_in_doubt(row, rules):
        after = recorded(with_row(world, no, row._replace(state="done", called_off=True)), rules)
        yield Step("cancel", f"a person cancels recipient {no}, and that is confirmed", after)
        yield Step("give_up", f"a person gives recipient {no} up, and that is confirmed", after)


def may_cancel_in_doubt(row: Delivery, rules: Rules) -> bool:
    """Never, unless the protocol is left without that."""
    return row.state == "in_doubt" and Weakness.IN_DOUBT_CANCELLED in rules.without


# A sender's attempt: lease, doubt, final dot, reply, settle.


def sender_steps(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """What a sender does next, or its crash."""
    sender = world.senders[who]
    match sender.doing:
        case "idle":
            yield from lease(world, who, rules)
            yield from take_over(world, who, rules)
        case "leased":
            yield from envelope(world, who, rules)
            yield doubt(world, who, rules)
        case "doubted":
            yield final_dot(world, who, rules)
        case "sent":
            yield from server(world, who)
        case "answered":
            yield from reply(world, who)
        case "knows":
            yield from settle(world, who, rules)
    if sender.doing != "idle" and world.crashes:
        yield from crash(world, who)


def lease(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """Take what is due, under a higher fence; attempts beyond the last are counted as one, for they send nothing."""
    for no, row in enumerate(world.deliveries):
        if row.state == "ready":
            after = row._replace(state="leased", fence=row.fence + 1, attempt=min(row.attempt, rules.attempts) + 1)
            held = Sender("leased", no, after.fence, after.attempt)
            words = f"leases recipient {no}: attempt {after.attempt}, fence {after.fence}"
            yield told("lease", who, words, with_sender(with_row(world, no, after), who, held))


def take_over(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """Take an expired in_doubt under a higher fence: still in doubt, until its outcome is recorded as unknown."""
    for no, row in enumerate(world.deliveries):
        if row.state != "in_doubt" or (under_way(world, no) and Weakness.DOUBT_TOO_SHORT not in rules.without):
            continue
        if Weakness.UNKNOWN_UNRECORDED in rules.without:
            yield told("take_over", who, "makes it ready again", with_row(world, no, row._replace(state="ready")))
            continue
        after = row._replace(fence=row.fence + (Weakness.TAKE_OVER_UNFENCED not in rules.without))
        held = Sender("knows", no, after.fence, row.attempt, "unknown")
        words = f"finds recipient {no} in doubt for too long and takes over: fence {after.fence}"
        yield told("take_over", who, words, with_sender(with_row(world, no, after), who, held))


def under_way(world: World, no: int) -> bool:
    """Whether a final dot is under way, which time forbids when an in_doubt lease ends.

    The lease outlasts the last moment for sending the dot and the time that the network may take to carry it.
    """
    return any(each.doing == "sent" and each.no == no for each in world.senders)


def envelope(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """What ends an attempt before its final dot."""
    if world.senders[who].attempt > rules.attempts:
        yield learnt(world, who, "expired", "finds the request expired")
        return
    yield learnt(world, who, "deferred", "reaches no server, or one that says 4xx before DATA")
    yield learnt(world, who, "refused", "hears 5xx before DATA")


def doubt(world: World, who: int, rules: Rules) -> Step:
    """The last look before the final dot: only who holds the lease goes on, and never to a suppressed address."""
    sender = world.senders[who]
    row, name = world.deliveries[sender.no], f"recipient {sender.no}"
    if Weakness.NO_DOUBT in rules.without:
        return told("doubt", who, "goes on without a commit", with_sender(world, who, sender._replace(doing="doubted")))
    if row.suppressed and Weakness.DOUBT_BLIND_TO_SUPPRESSION not in rules.without:
        return learnt(world, who, "suppressed", f"finds the address of {name} suppressed and closes the connection")
    if not may_doubt(row, sender, rules):
        return told("refused", who, f"is refused the doubt of {name} and closes the connection", freed(world, who))
    after = with_row(world, sender.no, row._replace(state="in_doubt"))
    return told("doubt", who, f"commits the doubt of {name}", with_sender(after, who, sender._replace(doing="doubted")))


def may_doubt(row: Delivery, sender: Sender, rules: Rules) -> bool:
    """The condition of the doubt's statement."""
    fenced = row.fence == sender.fence or Weakness.DOUBT_UNFENCED in rules.without
    return fenced and (row.state == "leased" or Weakness.DOUBT_BLIND_TO_CANCEL in rules.without)


def final_dot(world: World, who: int, rules: Rules) -> Step:
    """Send the final dot, unless our clock says that the in_doubt lease may be over.

    The clock is read off the fence here: as long as the lease runs nobody takes over.
    """
    sender = world.senders[who]
    if world.deliveries[sender.no].fence == sender.fence or Weakness.DOT_WITHOUT_CLOCK in rules.without:
        return told("dot", who, "sends the final dot", with_sender(world, who, sender._replace(doing="sent")))
    return told("too_late", who, "sees that its time for the final dot is over and closes the connection", freed(world, who))


def server(world: World, who: int) -> Iterator[Step]:
    """What the server makes of the final dot."""
    sender = world.senders[who]
    copied = with_copy(world, sender.no)
    answers: tuple[tuple[Result, str, World], ...] = (
        ("delivered", "takes the mail and says 250", copied),
        ("deferred", "says 4xx", world),
        ("refused", "says 5xx", world),
    )
    for result, words, after in answers:
        answered = sender._replace(doing="answered", result=result)
        yield Step("server", f"the server of {letter(who)} {words}", with_sender(after, who, answered))
    yield learnt(world, who, "unknown", "loses the connection before the server has the final dot")


def reply(world: World, who: int) -> Iterator[Step]:
    """The reply comes, or the connection or the time for it is lost first."""
    result = world.senders[who].result
    yield learnt(world, who, result, f"hears the reply: {result}")
    yield learnt(world, who, "unknown", "loses the connection before the reply")


def settle(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """Record the result under our fence; under an older one a final reply alone counts, and the rest is forgotten."""
    sender = world.senders[who]
    row = world.deliveries[sender.no]
    fenced = row.fence == sender.fence or Weakness.SETTLE_UNFENCED in rules.without
    if fenced and row.state in ("leased", "in_doubt"):
        after = recorded(with_row(world, sender.no, settled(row, sender.result, rules)), rules)
        words = f"records: {sender.result}, so recipient {sender.no} is {after.deliveries[sender.no].state}"
        yield told("settle", who, words, freed(after, who))
        if world.crashes:
            unheard = after._replace(crashes=world.crashes - 1)
            yield told("settle", who, f"{words}; the commit's answer is lost, so it will try again", unheard)
    elif sender.result in FINAL_REPLIES and sender.fence < row.fence and Weakness.NO_LATE_RULE not in rules.without:
        yield late(world, who, rules)
    else:
        # Also after a commit whose answer was lost: the state then is none that settle asks for.
        stray = Weakness.EVENT_BEFORE in rules.without
        after = world._replace(outbox=world.outbox + stray)
        yield told("forget", who, f"is refused the record of: {sender.result}", freed(after, who))


def settled(row: Delivery, result: Result, rules: Rules) -> Delivery:
    """The row after a result: tried again while there is time, parked if unknown and the request says so, else done."""
    row = row._replace(unknowns=row.unknowns + (result == "unknown"))
    if row.answered or result not in ("deferred", "unknown"):
        return row._replace(state="done")
    if result == "unknown" and row.park and Weakness.PARK_RETRIED not in rules.without:
        return row._replace(state="parked")
    return row._replace(state="waiting" if row.attempt < rules.attempts else "done")


def late(world: World, who: int, rules: Rules) -> Step:
    """Record a final reply under an older fence: the delivery is done, unless a newer attempt is in doubt.

    That one can no longer be called off, so the row remembers that it is the last.
    """
    sender = world.senders[who]
    row = world.deliveries[sender.no]
    newer = row.attempt > sender.attempt or Weakness.LATE_GIVES_WAY_TO_TAKER in rules.without
    if row.state == "in_doubt" and newer:
        row = row._replace(answered=Weakness.LATE_FORGOTTEN not in rules.without, replied=True)
    else:
        row = row._replace(state="done")
    after = recorded(with_row(world, sender.no, row), rules)
    return told("late", who, f"records a late reply: {sender.result}, so recipient {sender.no} is {row.state}", freed(after, who))


def crash(world: World, who: int) -> Iterator[Step]:
    """A sender is killed; its final dot, if one is under way, arrives or does not."""
    sender = world.senders[who]
    dead = freed(world, who)._replace(crashes=world.crashes - 1)
    if sender.doing == "sent":
        yield told("crash", who, "crashes; the server takes the mail", with_copy(dead, sender.no))
    yield told("crash", who, f"crashes ({sender.doing})", dead)


# Telling: the outbox is published at least once.


def publish(world: World, rules: Rules) -> Iterator[Step]:
    """Publish the oldest event, delete it when the broker has confirmed it; a crash between publishes it again."""
    early = Weakness.DELETE_UNCONFIRMED in rules.without
    if world.outbox and not world.publishing:
        yield Step("publish", "the oldest event is published", world._replace(publishing=True, outbox=world.outbox - early))
    if world.publishing:
        confirmed = world._replace(publishing=False, untold=world.untold - 1, outbox=world.outbox - (not early))
        yield Step("confirm", "the broker confirms the event, and it is deleted", confirmed)
    if world.publishing and world.crashes:
        crashed = world._replace(publishing=False, crashes=world.crashes - 1)
        yield Step("crash", "the publisher crashes before the confirm", crashed)


# How a world changes.


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
