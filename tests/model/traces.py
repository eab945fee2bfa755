"""How each weakness breaks a promise, by the shortest way: `python -m tests.model.traces` writes them to traces.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.model.promises import PROMISES
from tests.model.protocol import beginnings
from tests.model.search import STUCK, search
from tests.model.weaknesses import Weakness
from tests.model.world import Rules

DOCUMENT = Path(__file__).with_name("traces.md")

COPIES = "each extra copy follows a recorded unknown outcome"
CANCEL = "nothing is sent after a confirmed cancel"
EVENTS = "every outcome has its event, and every event its outcome"


class Case(NamedTuple):
    """What is left out, the promise that is then broken, and what the shortest way to that needs."""

    without: frozenset[Weakness]
    broken: str
    crashes: int = 0
    senders: int = 2


CASES = (
    Case(frozenset({Weakness.NO_DOUBT}), COPIES, crashes=1, senders=1),
    Case(frozenset({Weakness.DOUBT_UNFENCED}), COPIES),
    Case(frozenset({Weakness.DOUBT_BLIND_TO_CANCEL}), CANCEL),
    Case(frozenset({Weakness.DOUBT_BLIND_TO_SUPPRESSION}), "no final dot for a suppressed address"),
    Case(frozenset({Weakness.DOT_WITHOUT_CLOCK}), CANCEL),
    Case(frozenset({Weakness.DOUBT_TOO_SHORT}), CANCEL),
    Case(frozenset({Weakness.DOUBT_TOO_SHORT, Weakness.NO_LATE_RULE}), "a 250 is never dropped"),
    Case(frozenset({Weakness.NO_LATE_RULE}), "a 250 is never dropped"),
    Case(frozenset({Weakness.LATE_FORGOTTEN}), "no further attempt after a final reply"),
    Case(frozenset({Weakness.LEASE_END_UNFENCED}), "a 5xx is never dropped"),
    Case(frozenset({Weakness.TAKE_OVER_UNFENCED}), "a 250 is never dropped"),
    Case(frozenset({Weakness.UNKNOWN_UNRECORDED}), COPIES),
    Case(frozenset({Weakness.PARK_RETRIED}), "park sends no second copy unasked"),
    Case(frozenset({Weakness.SETTLE_UNFENCED}), COPIES),
    Case(frozenset({Weakness.IN_DOUBT_CANCELLED}), CANCEL),
    Case(frozenset({Weakness.EVENT_AFTER}), EVENTS),
    Case(frozenset({Weakness.EVENT_BEFORE}), EVENTS),
    Case(frozenset({Weakness.DELETE_UNCONFIRMED}), EVENTS),
    Case(frozenset({Weakness.ACK_BEFORE_COMMIT}), STUCK, crashes=1),
    Case(frozenset({Weakness.INTAKE_WITHOUT_KEY}), COPIES),
)


def shown(case: Case) -> str:
    """What is left out, what that breaks, and the shortest way there."""
    # Each weakness breaks several promises: the search looks for one alone, that which the part is there for.
    promises = {name: promise for name, promise in PROMISES.items() if name == case.broken}
    found = search(beginnings(case.crashes, senders=case.senders), Rules(without=case.without), promises)
    left_out = "; and ".join(sorted(case.without))
    lines = [f"## Left out: {left_out}", "", f"Broken: **{found.broken}**", ""]
    return "\n".join([*lines, *(f"{number}. {words}" for number, words in enumerate(found.trace, 1))])


def sections() -> Iterator[str]:
    """The document's parts: a head, then a section for each case."""
    yield "# What each part of the queue's protocol is there for\n\nWritten by `python -m tests.model.traces`."
    yield from map(shown, CASES)


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text("\n\n".join(sections()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
