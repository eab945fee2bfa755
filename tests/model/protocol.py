"""The sender's queue protocol as a machine: `steps` tells everything that can happen next in a state of the world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from tests.model.weaknesses import Weakness
from tests.model.world import (
    Delivery,
    Result,
    Rules,
    Sender,
    State,
    Step,
    World,
    changed,
    freed,
    learnt,
    letter,
    recorded,
    told,
    with_copy,
    with_row,
    with_sender,
)

# There is no clock: what may be late may happen at any time. A process that stalls is one whose next step comes after those
# of others; a lease that ends under its holder is `lease_ended` or `take_over` between two steps of the holder. Time is
# trusted in one place: an in_doubt lease outlasts the last moment for the final dot and the way of the dot to the server.

FINAL_REPLIES = ("delivered", "refused")
OVER = ("done", "parked")
OPEN = ("ready", "waiting", "leased", "parked")  # to a cancel: what is in doubt may have been taken already

# By action, which state may follow which: all that may change a row, to hold the statements in SQL to.
# `late` is a final reply under an older fence; `take_over` and `late` change the fence or a mark where the state stays.
_MOVES: Mapping[str, Mapping[State, tuple[State, ...]]] = {
    "intake": {"absent": ("ready", "waiting")},
    "due": {"waiting": ("ready",)},
    "lease": {"ready": ("leased",)},
    "lease_ended": {"leased": ("ready",)},
    "doubt": {"leased": ("in_doubt",)},
    "settle": {"leased": ("waiting", "done"), "in_doubt": ("waiting", "parked", "done")},
    "take_over": {"in_doubt": ("in_doubt",)},
    "late": {
        "ready": ("done",),
        "waiting": ("done",),
        "leased": ("done",),
        "parked": ("done",),
        "in_doubt": ("in_doubt",),
    },
    "retry_now": {"waiting": ("ready",), "parked": ("ready",)},
    "cancel": {"ready": ("done",), "waiting": ("done",), "leased": ("done",), "parked": ("done",)},
    "give_up": {"ready": ("done",), "waiting": ("done",), "leased": ("done",), "parked": ("done",)},
}
TRANSITIONS = frozenset(
    (before, action, after) for action, moves in _MOVES.items() for before, ends in moves.items() for after in ends
)


def beginnings(crashes: int, recipients: int = 1, senders: int = 2) -> Iterator[World]:
    """A request that the broker has confirmed to its publisher, who sent it once or, not hearing that, twice."""
    for published in (1, 2):
        for park in (False, True):
            yield World((Delivery(park),) * recipients, (Sender(),) * senders, published, crashes)


def steps(world: World, rules: Rules) -> Iterator[Step]:
    """Everything that can happen next."""
    if rules.publisher_first and (world.outbox or world.publishing):
        # It waits for nobody and nobody for it: any other order of its steps leads to the same worlds.
        return publish(world, rules)
    return chain(
        intake(world, rules),
        *(row_steps(world, no, rules) for no in range(len(world.deliveries))),
        *(sender_steps(world, who, rules) for who in range(len(world.senders))),
        publish(world, rules),
    )


def is_over(world: World) -> bool:
    """Every confirmed request is terminal or parked for each recipient, every event is published, and nobody is at work."""
    at_work = (
        world.broker or world.outbox or world.intake != "idle" or any(each.doing != "idle" for each in world.senders)
    )
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
        # Who asks for a parked one gets an attempt, were it the last.
        parked, attempt = row.state == "parked", min(row.attempt, rules.attempts - 1)
        asked = row._replace(state="ready", asked=row.asked or parked, attempt=attempt if parked else row.attempt)
        yield changed(world, "retry_now", no, asked, f"a person has recipient {no} tried now")
    if not row.suppressed:
        yield changed(
            world, "suppress", no, row._replace(suppressed=True), f"the address of recipient {no} is suppressed"
        )
    if row.state in OPEN or (row.state == "in_doubt" and Weakness.IN_DOUBT_CANCELLED in rules.without):
        after = recorded(with_row(world, no, row._replace(state="done", called_off=True)), rules)
        yield Step("cancel", f"a person cancels recipient {no}, and that is confirmed", after)
        yield Step("give_up", f"a person gives recipient {no} up, and that is confirmed", after)


# A sender's attempt: lease, doubt, final dot, reply, settle.


def sender_steps(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """What a sender does next, or its crash."""
    sender = world.senders[who]
    match sender.doing:
        case "idle":
            yield from lease(world, who, rules)
            yield from take_over(world, who, rules)
        case "leased":
            yield learnt(world, who, "deferred", "reaches no server, or one that says 4xx before DATA")
            yield learnt(world, who, "refused", "hears 5xx before DATA")
            yield doubt(world, who, rules)
        case "doubted":
            yield told("dot", who, "sends the final dot", with_sender(world, who, sender._replace(doing="sent")))
        case "overdue":
            words = "sees by its clock that it is too late for the final dot and closes the connection"
            yield told("too_late", who, words, freed(world, who))
        case "sent":
            yield from server(world, who)
        case "answered":
            yield from reply(world, who)
        case "knows":
            yield from settle(world, who, rules)
    if sender.doing != "idle" and world.crashes:
        yield from crash(world, who)


def lease(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """Take what is due, under a higher fence; what was tried often enough has expired instead."""
    for no, row in enumerate(world.deliveries):
        if row.state == "ready":
            expired = row.attempt == rules.attempts
            after = row._replace(state="leased", fence=row.fence + 1, attempt=row.attempt + (not expired))
            held = Sender("knows", no, after.fence, "expired") if expired else Sender("leased", no, after.fence)
            words = f"leases recipient {no} under fence {after.fence}" + ": it has expired" * expired
            yield told("lease", who, words, with_sender(with_row(world, no, after), who, held))


def take_over(world: World, who: int, rules: Rules) -> Iterator[Step]:
    """Take an expired in_doubt under a higher fence: still in doubt, until its outcome is recorded as unknown."""
    for no, row in enumerate(world.deliveries):
        if row.state != "in_doubt" or (under_way(world, no) and Weakness.DOUBT_TOO_SHORT not in rules.without):
            continue
        late = too_late(world, no, rules)
        if Weakness.UNKNOWN_UNRECORDED in rules.without:
            yield told("take_over", who, "makes it ready again", with_row(late, no, row._replace(state="ready")))
            continue
        after = row._replace(fence=row.fence + (Weakness.TAKE_OVER_UNFENCED not in rules.without))
        words = f"finds the doubt of recipient {no} expired and takes it over under fence {after.fence}"
        held = Sender("knows", no, after.fence, "unknown")
        yield told("take_over", who, words, with_sender(with_row(late, no, after), who, held))


def too_late(world: World, no: int, rules: Rules) -> World:
    """The world in which an in_doubt lease is over: by its own clock, who did not send the final dot yet never will."""
    for who, sender in enumerate(world.senders):
        if sender.doing == "doubted" and sender.no == no and Weakness.DOT_WITHOUT_CLOCK not in rules.without:
            world = with_sender(world, who, sender._replace(doing="overdue"))
    return world


def under_way(world: World, no: int) -> bool:
    """Whether a final dot is under way: an in_doubt lease ends only when each has arrived or never will."""
    return any(each.doing == "sent" and each.no == no for each in world.senders)


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
    """Record a final reply under an older fence: the delivery is done, unless it is in doubt under the newer one.

    That attempt can no longer be called off, but the row remembers that it is the last.
    """
    sender = world.senders[who]
    row = world.deliveries[sender.no]
    if row.state == "in_doubt":
        row = row._replace(answered=Weakness.LATE_FORGOTTEN not in rules.without, replied=True)
    else:
        row = row._replace(state="done")
    after = freed(recorded(with_row(world, sender.no, row), rules), who)
    return told("late", who, f"records a late reply: {sender.result}, so recipient {sender.no} is {row.state}", after)


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
        yield Step(
            "publish", "the oldest event is published", world._replace(publishing=True, outbox=world.outbox - early)
        )
    if world.publishing:
        confirmed = world._replace(publishing=False, untold=world.untold - 1, outbox=world.outbox - (not early))
        yield Step("confirm", "the broker confirms the event, and it is deleted", confirmed)
    if world.publishing and world.crashes:
        crashed = world._replace(publishing=False, crashes=world.crashes - 1)
        yield Step("crash", "the publisher crashes before the confirm", crashed)
