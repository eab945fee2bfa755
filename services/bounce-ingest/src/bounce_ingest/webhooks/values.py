"""What a call of a webhook is, what it tells, and why it may not be taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bounce_ingest.quarantine.values import Reason
from tracepost.events import Data

# `stale` is what is genuine, but was signed too long ago: it may be a repetition by somebody else.
Trust = Literal["genuine", "stale"]
Code = Literal[
    "not-configured", "bad-signature", "replayed", "other-topic", "unreadable", "not-a-batch", "invalid", "unavailable"
]
Why = Literal[
    "no_token",
    "bad_token",
    "other_message",
    "other_recipient",
    "stale_call",
    "unknown_event",
    "unreadable_event",
    "subscription",
]
REASONS: Mapping[Why, Reason] = {
    "no_token": "unplaced",
    "bad_token": "untrusted",
    "other_message": "untrusted",
    "other_recipient": "untrusted",
    "stale_call": "untrusted",
    "unknown_event": "not_understood",
    "unreadable_event": "not_understood",
    "subscription": "not_understood",
}


class Refused(Exception):
    """A call that is not taken: `code` says why to programs, `detail` to people, with the remedy."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request: the names of its headers in lower case, its body as it came, and when."""

    headers: Mapping[str, str]
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider tells of one recipient.

    `key` is the same whenever the provider tells it again. `tokens` are what may be ours, the best first, and
    `message_id_header` is the message's, where the provider repeats it. `forwards` says that the provider may name the
    address that the recipient's mail was forwarded to.
    """

    key: str
    data: Data
    at: datetime
    recipient: str | None
    tokens: tuple[str, ...]
    message_id_header: str = ""
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is understood and changes nothing, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Strange:
    """What only a person can decide on."""

    why: Why


Telling = Sequence[Told] | Ignored | Strange


@dataclass(frozen=True, slots=True)
class Provider:
    """How calls of one provider are verified, taken apart and understood.

    `verify` raises Refused, and so may `elements`; `elements` and `tell` raise TypeError, ValueError or LookupError for
    what they cannot read.
    """

    verify: Callable[[Call], Awaitable[Trust]]
    elements: Callable[[Call], list[object]]
    tell: Callable[[object], Telling]
