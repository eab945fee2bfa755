"""Reads the headers of the returned message, as far as they came back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bounce_ingest.reading.addresses import ADDRESS
from bounce_ingest.reading.parts import MAX_VALUE
from bounce_ingest.reading.values import Original

MAX_HEAD = 16 * 1024  # characters that are looked at

_ADDRESS = re.compile(ADDRESS)
_RECIPIENTS = ("to", "cc", "x-envelope-to", "envelope-to", "x-rcpt-to")
_SENDERS = ("from", "sender", "return-path")
_COUNTING = {"message-id", "tracepost-token", *_RECIPIENTS, *_SENDERS}
_FOLDED = (" ", "\t")


@dataclass(frozen=True, slots=True)
class Returned:
    """What the headers of the returned message say, as far as they came back."""

    original: Original
    to: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()


def returned(message: str) -> Returned:
    """Of a message in which each character is a byte, or of what a notice shows of it."""
    head = message[:MAX_HEAD]
    kept = _kept(head if head.isascii() else head.encode("latin-1").decode("utf-8", "replace"))
    return Returned(
        Original(kept.get("message-id") or None, "".join(kept.get("tracepost-token", "").split()) or None),
        to=_addresses(kept.get(name, "") for name in _RECIPIENTS),
        sender=_addresses(kept.get(name, "") for name in _SENDERS),
    )


def _kept(head: str) -> dict[str, str]:
    """The first field of each name that counts, up to the blank line behind the recipients; quoted ones too."""
    kept: dict[str, str] = {}
    name = ""
    for line in head.split("\n"):
        if line[:1] in _FOLDED and line.strip():
            if name:
                kept[name] = f"{kept[name]} {line.strip()}"[:MAX_VALUE]
            continue
        bare = line.lstrip("> |")
        if "to" in kept and not bare:
            break
        stated, colon, value = bare.partition(":")
        name = stated.strip().lower() if colon else ""
        name = name if name in _COUNTING and name not in kept else ""
        if name:
            kept[name] = value.strip()[:MAX_VALUE]
    return kept


def _addresses(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for value in values for each in _ADDRESS.findall(value)))
