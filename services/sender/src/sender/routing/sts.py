"""MTA-STS (RFC 8461): what a domain's record and policy say, which hosts match, and when to look again; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Mode = Literal["enforce", "testing", "none"]

MOST_BYTES = 64 * 1024  # of a policy (section 3.3 proposes this limit)
MOST_SECONDS = 31_557_600  # of max_age: about a year
REFRESH_SECONDS = 86_400  # a policy is fetched again before its end, so that it never ends while the domain is attacked

_RECORD = re.compile(r"v=STSv1[ \t]*;[ \t]*(?P<fields>.*)", re.DOTALL)
_ID = re.compile(r"[a-zA-Z0-9]{1,32}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks of who delivers to it; `max_age` in seconds."""

    mode: Mode
    mx: tuple[str, ...]
    max_age: int

    def allows(self, host: str) -> bool:
        """Mail may be handed to this host (section 4.1)."""
        return any(_matches(host, pattern) for pattern in self.mx)


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy that was fetched, under which id, and when (seconds of the clock of the day)."""

    policy: Policy
    id: str
    fetched_at: float

    @property
    def until(self) -> float:
        """When it ends."""
        return self.fetched_at + self.policy.max_age

    def is_fresh(self, id_: str | None, now: float) -> bool:
        """It need not be fetched again: the domain names no other, and it is young enough."""
        age = min(REFRESH_SECONDS, self.policy.max_age / 2)
        return id_ in {None, self.id} and now < self.fetched_at + age


def record_id(texts: Sequence[str]) -> str | None:
    """The id in the TXT records of `_mta-sts.<domain>`; None unless there is exactly one that counts (section 3.1)."""
    records = [found for text in texts if (found := _RECORD.fullmatch(text))]
    if len(records) != 1:
        return None
    fields = dict(_field(each) for each in records[0]["fields"].split(";") if each.strip())
    id_ = fields.get("id", "")
    return id_ if _ID.fullmatch(id_) else None


def read(text: str) -> Policy:
    """A policy file (section 3.2); ValueError says what is wrong with it."""
    lines = [_pair(line) for line in text.splitlines() if line.strip()]
    first = dict(reversed(lines))  # of a name that comes twice the first counts, but of mx all
    mode, max_age = first.get("mode"), first.get("max_age", "")
    mx = tuple(value.lower().rstrip(".") for name, value in lines if name == "mx")
    if first.get("version") != "STSv1":
        raise ValueError("has no version STSv1")
    if mode not in {"enforce", "testing", "none"}:
        raise ValueError(f"has the mode {mode!r:.40}, which is none of enforce, testing, none")
    if not (max_age.isascii() and max_age.isdecimal() and len(max_age) <= 10):
        raise ValueError(f"has the max_age {max_age!r:.40}, which is no number of seconds")
    if wrong := [each for each in mx if not _PATTERN.fullmatch(each)]:
        raise ValueError(f"has the mx {wrong[0]!r:.80}, which is no host and no *.domain")
    if not mx and mode != "none":
        raise ValueError("names no mx")
    return Policy(mode, mx, min(int(max_age), MOST_SECONDS))  # type: ignore[arg-type]  # it was checked above


def _pair(line: str) -> tuple[str, str]:
    name, is_pair, value = line.partition(":")
    if not is_pair:
        raise ValueError(f"has a line that is no `name: value`: {line!r:.80}")
    return name.strip(), value.strip()


def _field(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):  # for one label, the leftmost
        label, _, parent = host.partition(".")
        return bool(label) and parent == pattern[2:]
    return host == pattern
