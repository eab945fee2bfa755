"""Records as people publish them, and the lists of tags that some of them hold; pure."""

from __future__ import annotations

import re

_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=\s*([^;]*?)\s*")
_OF_A_STRING = 255  # bytes; RFC 1035, 3.3


def record(name: str, kind: str, value: str) -> str:
    """A line of a zone file; the text of a TXT record in strings that are not too long."""
    if kind == "TXT":
        pieces = [value[at : at + _OF_A_STRING] for at in range(0, len(value), _OF_A_STRING)]
        value = " ".join(f'"{piece}"' for piece in pieces)
    return f"{name}. {kind} {value}"


def tags(text: str) -> dict[str, str]:
    """`v=DKIM1; p=…` by name, in lower case and in order (RFC 6376, 3.2); ValueError says what is wrong."""
    found: dict[str, str] = {}
    for piece in text.split(";"):
        tag = _TAG.fullmatch(piece)
        if tag is None:
            if piece.strip():
                raise ValueError(f"{piece.strip()[:60]!r} is no tag")
            continue
        if tag[1].lower() in found:
            raise ValueError(f"it gives {tag[1]} twice")
        found[tag[1].lower()] = tag[2]
    return found
