"""Finds for whom a mail server of our own has taken a mail, in the fields that it put on top; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_HEAD = 64 * 1024  # bytes that are looked through

# Postfix and qmail, Postfix, Exim, others: the token in the address is its own proof, whoever wrote it there.
_FIELD = re.compile(rb"(?im)^(?:delivered-to|x-original-to|envelope-to|x-envelope-to):[ \t]*<?([^\s<>]{1,320})")


def recipients(mail: bytes) -> Iterator[str]:
    """The addresses, the last delivery's first."""
    head = mail[:MOST_HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return (found[1].decode(errors="replace") for found in _FIELD.finditer(head))
