"""What the parsers are told, and what they answer for a mail that cannot be parsed; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Breach = Literal["timed_out", "too_much_memory", "died"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one parser: seconds for a batch, bytes of address space, bytes of a mail that it reads, from its beginning."""

    seconds: float
    memory: int
    read: int


@dataclass(frozen=True, slots=True)
class Unparsed:
    """The mail broke two parsers, the second one alone in it."""

    reason: Breach


class NoParser(Exception):
    """No parser can be started now, so that nothing is known of the mail; the text says why."""
