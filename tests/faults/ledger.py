"""What was confirmed to the load, held against what the services made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from uuid_utils.compat import uuid7

DOMAIN = "simulator.test"

Act = Literal["nothing", "open", "return", "complain"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The simulator's behaviour, what the recipient's side does afterwards, and the status that both must lead to.

    Afterwards is played by the load, not by the simulator: who tries once cannot know what the services owe.
    """

    simulated: str
    act: Act
    expected: str


BEHAVIOURS = {
    "delivered": Behaviour("delivered", "nothing", "delivered"),
    "read": Behaviour("delivered", "open", "read"),
    "unknown-user": Behaviour("unknown-user", "nothing", "hard_bounce"),
    "spam": Behaviour("spam", "nothing", "spam"),
    "returned": Behaviour("delivered", "return", "hard_bounce"),
    "complains": Behaviour("delivered", "complain", "spam"),
}
UNDER_WAY = {"queued", "deferred", "unknown", "delivered"}


@dataclass
class Entry:
    """One request and its truth: `confirmed` when the broker has it, `acted` when what follows was confirmed too.

    What is never delivered is never acted on: a request is owed its status from its confirm on.
    """

    kind: str
    message_id: UUID = field(default_factory=uuid7)
    confirmed: bool = False
    acted: bool = False
    repeated: int = 0

    @property
    def behaviour(self) -> Behaviour:
        return BEHAVIOURS[self.kind]

    @property
    def recipient(self) -> str:
        """An address of its own, so that no suppression reaches another's."""
        return f"{self.behaviour.simulated}+{self.message_id.hex}@{DOMAIN}"

    @property
    def settled(self) -> bool:
        """Whether all is confirmed that its status hangs on."""
        return self.confirmed and (self.acted or self.behaviour.act == "nothing")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the services hold of one message: the store's two answers, its last word on the exchange, the mailbox."""

    status: str | None  # in the table
    queried: str | None  # by the API
    told: str | None  # by the newest event on tracepost.status
    answered: bool  # to its publisher
    delivery: str | None  # its state in the sender's queue
    copies: int  # that were accepted for its recipient
    unknown: int  # outcomes on the record that nobody can know


@dataclass
class Verdict:
    """The result of a comparison; a line of text for each fault."""

    confirmed: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: int = 0
    unknown: int = 0
    recovered: int = 0

    @property
    def clean(self) -> bool:
        return not self.lost and not self.unexpected

    def __str__(self) -> str:
        faults = [f"  lost: {each}" for each in self.lost[:20]] + [f"  unexpected: {e}" for e in self.unexpected[:20]]
        counts = (
            f"confirmed {self.confirmed}, lost {len(self.lost)}, unexpected {len(self.unexpected)}, "
            f"duplicated {self.duplicated} (unknown outcomes {self.unknown}), recovered {self.recovered}"
        )
        return "\n".join([counts, *faults])


def compare(entries: Iterable[Entry], seen: Mapping[UUID, Seen], strangers: Iterable[str]) -> Verdict:
    """Hold each entry against what is seen of it; `strangers` are things that nobody asked for."""
    verdict = Verdict(unexpected=list(strangers))
    for entry in entries:
        if found := seen.get(entry.message_id):
            _hold(entry, found, verdict)
        elif entry.confirmed:
            verdict.lost.append(f"{entry.kind} {entry.message_id}: nothing is known of it")
        verdict.confirmed += entry.confirmed
    return verdict


def _hold(entry: Entry, seen: Seen, verdict: Verdict) -> None:
    name = f"{entry.kind} {entry.message_id}"
    expected = entry.behaviour.expected
    if entry.confirmed:
        places = {"table": seen.status, "API": seen.queried, "tracepost.status": seen.told}
        for place, status in places.items():
            if status != expected:
                fault = verdict.lost if status is None or status in UNDER_WAY else verdict.unexpected
                fault.append(f"{name}: {place} says {status}, expected {expected}")
        if not seen.answered:
            verdict.lost.append(f"{name}: no answer to its publisher")
        if seen.delivery != "done":
            verdict.lost.append(f"{name}: is {seen.delivery} in the sender's queue")
    extra = max(0, seen.copies - 1)
    if extra > seen.unknown:
        verdict.unexpected.append(f"{name}: {seen.copies} copies and {seen.unknown} unknown outcomes on the record")
    if entry.confirmed and not seen.copies and expected not in {"hard_bounce", "spam"}:
        verdict.lost.append(f"{name}: no copy was accepted")
    verdict.duplicated += extra
    verdict.unknown += seen.unknown
    verdict.recovered += bool(entry.confirmed and (entry.repeated or seen.unknown))
