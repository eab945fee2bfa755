"""Reads the addresses that reports name."""

from __future__ import annotations

import re

LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]{1,80}"
ADDRESS = rf'(?:{LOCAL}|"[^"\n@]{{1,80}}")@(?:[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,12}}|\[[0-9a-fA-F.:]{{3,45}}\])'
"""An address in running text; its domain has a dot, or is an address literal."""

# type, brackets, source route
_FIELD = re.compile(r"(?:[A-Za-z][\w-]*\s*;)?\s*(?:[^<]*<)?(?:@[^:@]+:)?([^<>]*)")
_COMMENT = re.compile(r"\s\([^()]{0,200}\)\s*$")
_NEVER_BARE = re.compile(r"[\s;]")
# Only characters that must be encoded, or "user+42@…", which an MTA has already decoded, would become another address.
_XTEXT = re.compile(r"\+(2B|3D|20)")


def address(value: str) -> str | None:
    """The address of a field such as Final-Recipient; None for what a bare one cannot hold: that is made up."""
    found = _COMMENT.sub("", _FIELD.findall(value)[0]).strip()
    return found if found and (found.startswith('"') or not _NEVER_BARE.search(found)) else None


def xtext(value: str) -> str:
    """A value with its xtext (RFC 3461) undone as far as that is safe."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), value)


def spelling(value: str) -> str:
    """An address as it is compared."""
    return value.lower()
