"""What is held in quarantine, and why; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Literal, NamedTuple
from uuid import UUID

from tracepost.events import derived_id
from tracepost.tokens import Claim

Reason = Literal[
    "unplaced",  # it names no delivery of ours
    "untrusted",  # what should prove that it may be believed is not genuine, or too old
    "not_understood",  # nobody can tell what it says
    "parser_failed",  # to read it costs more time or memory than a mail may
]


@dataclass(frozen=True)
class Held:
    """A report as it came; the same one again has the same id, and is held once.

    `way` is how it came: `smtp`, `lmtp`, `pipe`, `maildir` or `webhook:<provider>`. `detail` tells more than the reason
    does, from a closed set. `claim` is that of the genuine token that it came with, if any: of its envelope, say.
    """

    reason: Reason
    way: str
    raw: bytes
    detail: str = ""
    subject: str = ""
    content_type: str = "message/rfc822"
    claim: Claim | None = None

    @property
    def about(self) -> str | None:
        """The subject of events about its delivery."""
        return f"{self.claim.message_id}/{self.claim.recipient_no}" if self.claim else None

    @cached_property
    def id(self) -> UUID:
        """Of its content, and the delivery that it came for."""
        return derived_id("quarantine", sha256(self.raw).hexdigest(), self.about)


class Entry(NamedTuple):
    """A report in quarantine: `seq` is its place, `size` that of what is kept, of which nothing is left once erased."""

    id: UUID
    seq: int
    received_at: datetime
    erased_at: datetime | None
    size: int
    held: Held


class Kept(NamedTuple):
    """How much of one reason is in quarantine."""

    reason: Reason
    rows: int
    size: int


class Bounds(NamedTuple):
    """The most that is kept: rows, bytes, days."""

    rows: int
    size: int
    days: int
