"""Real returned mails with their truth, read from the `manifest.jsonl` of a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNCES = {"dsn", "vendor", "delayed"}
COMPLAINTS = {"arf"}
AUTOMATIC = {"auto-reply"}
# What names nobody who failed: any address that is given for it is wrong.
NOT_BOUNCES = {"auto-reply", "mdn", "non-bounce", "delivered"}


@dataclass(frozen=True)
class Mail:
    """A mail and its truth: the failing recipients in all acceptable spellings, and whether each address is dead."""

    path: Path
    kind: str
    origin: str
    content: bytes
    recipients: tuple[frozenset[str], ...]
    dead: tuple[bool | None, ...]

    @property
    def is_scored(self) -> bool:
        """Whether it states recipients to be found."""
        return self.kind in BOUNCES and bool(self.recipients)


def read(folder: Path) -> list[Mail]:
    """All mails of a folder; FileNotFoundError without a manifest, ValueError for a line of another form."""
    manifest = folder / "manifest.jsonl"
    mails = []
    for number, line in enumerate(manifest.read_text("utf-8").splitlines(), 1):
        try:
            mails.append(_mail(folder, json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{manifest}:{number}: {type(error).__name__}: {error}") from error
    return mails


def spelling(address: str) -> str:
    """An address as it is compared: without case, quotes and brackets."""
    return re.sub(r'["<>\s]', "", address).lower()


def _mail(folder: Path, entry: Mapping[str, Any]) -> Mail:
    path = folder / entry["path"]
    recipients = tuple(frozenset(map(spelling, spellings)) for spellings in entry["recipients"])
    origin = f"{entry.get('corpus', folder.name)}/{re.sub(r'[-_]?[0-9]+$', '', path.stem)}"
    return Mail(path, entry["kind"], origin, path.read_bytes(), recipients, _dead(entry, recipients))


def _dead(entry: Mapping[str, Any], recipients: Sequence[object]) -> tuple[bool | None, ...]:
    rows = entry.get("expected") or [entry] * len(recipients)
    flags = [row.get("hardbounce") for row in rows][: len(recipients)]
    return (*flags, *[None] * (len(recipients) - len(flags)))
