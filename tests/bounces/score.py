"""Scores readings against the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.bounces.corpus import AUTOMATIC, COMPLAINTS, NOT_BOUNCES, Mail
from tests.bounces.readers import Reading


@dataclass
class Score:
    """Counts over some mails; `…_of` is of how many."""

    mails: int = 0
    found: int = 0
    found_of: int = 0
    exact: int = 0
    exact_of: int = 0
    hard: int = 0
    hard_of: int = 0
    complaints: int = 0
    complaints_of: int = 0
    auto_replies: int = 0
    auto_replies_of: int = 0
    given_for_non_bounces: int = 0
    non_bounces: int = 0

    def add(self, mail: Mail, reading: Reading) -> None:
        """Count one mail."""
        self.mails += 1
        if mail.is_scored:
            self._recipients(mail, reading)
        if mail.kind in COMPLAINTS:
            self.complaints_of += 1
            self.complaints += reading.is_complaint
        if mail.kind in AUTOMATIC:
            self.auto_replies_of += 1
            self.auto_replies += reading.is_auto_reply
        if mail.kind in NOT_BOUNCES:
            self.non_bounces += 1
            self.given_for_non_bounces += len(reading.recipients)

    def _recipients(self, mail: Mail, reading: Reading) -> None:
        hits = [
            next((each for each in reading.recipients if each[0] & spellings), None) for spellings in mail.recipients
        ]
        self.found_of += len(hits)
        self.found += sum(hit is not None for hit in hits)
        self.exact_of += 1
        self.exact += is_exact(mail, reading)
        labelled = [(hit, dead) for hit, dead in zip(hits, mail.dead, strict=True) if dead is not None]
        self.hard_of += len(labelled)
        self.hard += sum(hit is not None and hit[1] == dead for hit, dead in labelled)

    @property
    def table(self) -> Mapping[str, int]:
        """As plain figures."""
        return asdict(self)


def is_exact(mail: Mail, reading: Reading) -> bool:
    """Whether it names every failing recipient, and nobody else."""
    given = [spellings for spellings, _ in reading.recipients]
    return all(any(each & truth for each in given) for truth in mail.recipients) and all(
        any(each & truth for truth in mail.recipients) for each in given
    )


def score(mails: Iterable[Mail], readings: Iterable[Reading]) -> Score:
    """Of all together."""
    total = Score()
    for mail, reading in zip(mails, readings, strict=True):
        total.add(mail, reading)
    return total


def by(names: Sequence[str], mails: Sequence[Mail], readings: Sequence[Reading]) -> dict[str, Score]:
    """Of each name, of which every mail has one."""
    scores: dict[str, Score] = {}
    for name, mail, reading in zip(names, mails, readings, strict=True):
        scores.setdefault(name, Score()).add(mail, reading)
    return dict(sorted(scores.items()))
