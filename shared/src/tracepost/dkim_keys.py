"""Keys of DKIM: what a setting says of them, and which of them sign for a sender; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tracepost.addresses import parse

if TYPE_CHECKING:  # it takes 7 MB, which who has no keys does not need
    from tracepost.dkim_private import Key

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


class KeyFile(NamedTuple):
    """A key as it is listed: where its public half stands, the file of its private one, and when it begins to sign."""

    domain: str
    selector: str
    path: str
    begins: datetime | None = None

    def __str__(self) -> str:
        date = f"@{self.begins.date()}" if self.begins else ""
        return f"{self.domain}:{self.selector}{date}={self.path}"


def read(entries: Iterable[str]) -> tuple[KeyFile, ...]:
    """From `example.org:selector=/path/key.pem` or `example.org:selector@2026-07-01=/path/key.pem`; ValueError names
    an entry that is neither.
    """
    return tuple(map(_entry, entries))


def of_sender(keys: Mapping[str, Sequence[Key]], domain: str, now: datetime) -> tuple[Key, ...]:
    """Of the keys by domain those that sign for a sender's domain: of each algorithm the one that began last.

    Those of the nearest domain above will do: they are aligned (RFC 7489, 3.1.1).
    """
    while domain and domain not in keys:
        domain = domain.partition(".")[2]
    first = datetime.min.replace(tzinfo=UTC)
    begun = [key for key in keys.get(domain, ()) if (key.begins or first) <= now]
    latest = {key.algorithm: key for key in sorted(begun, key=lambda key: key.begins or first)}
    return tuple(latest.values())


def _entry(entry: str) -> KeyFile:
    name, is_equal, path = entry.partition("=")
    domain, _, selector = name.partition(":")
    selector, is_dated, date = selector.strip().lower().partition("@")
    if not (is_equal and path.strip() and _SELECTOR.fullmatch(selector)):
        _refuse(entry)
    try:
        begins = datetime.fromisoformat(date).replace(tzinfo=UTC) if is_dated else None
        return KeyFile(parse(f"a@{domain.strip()}").domain, selector, path.strip(), begins)
    except ValueError:
        _refuse(entry)


def _refuse(entry: str) -> NoReturn:
    forms = "example.org:selector=/path/key.pem, or example.org:selector@2026-07-01=/path/key.pem for a later day"
    raise ValueError(f"{entry!r} is no DKIM key; write it as {forms}")
