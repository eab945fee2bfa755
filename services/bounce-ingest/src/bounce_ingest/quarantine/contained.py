"""Finds what a report must be found by when personal data is to be erased: addresses in it, and its delivery; pure."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp
from collections.abc import Iterator
from itertools import chain, islice

from bounce_ingest.quarantine.values import Held
from tracepost.tokens import Keyring

MOST_ADDRESSES = 2_000  # of one report; a hash of each is kept
MOST_SIGNS = 20_000  # at signs that are looked at
MOST_BYTES = 1024 * 1024  # that are looked through
MOST_LOCAL = 64  # octets of a local part (RFC 5321)

_BORDER = re.compile(rb"[\s<>()\[\]\\\",;:=@]")
_DOMAIN = re.compile(rb"[A-Za-z0-9\x80-\xff][A-Za-z0-9\x80-\xff.-]{0,252}")
_BASE64 = re.compile(rb"(?m)^(?:[A-Za-z0-9+/]{40,80}+\r?\n)++[A-Za-z0-9+/]{0,80}={0,2}")


def keys(held: Held, keyring: Keyring) -> set[str]:
    """The keyed hashes of the addresses that stand in it, as they are and encoded, and the subject of its delivery."""
    found = {keyring.address_key(address) for address in addresses(held.raw)}
    return found | {held.about} if held.about else found


def addresses(raw: bytes) -> set[str]:
    """All that looks like an address in a mail or a document; in time linear in its size."""
    found = islice(chain.from_iterable(map(_in, _readings(raw[:MOST_BYTES]))), MOST_SIGNS)
    unique = islice(dict.fromkeys(found), MOST_ADDRESSES)
    return {each.decode(errors="replace").strip(".'`").lower() for each in unique}


def _in(text: bytes) -> Iterator[bytes]:
    at = text.find(b"@")
    while at >= 0:
        *_, local = _BORDER.split(text[max(0, at - MOST_LOCAL) : at])
        if local and (domain := _DOMAIN.match(text, at + 1)):
            yield local + b"@" + domain[0]
        at = text.find(b"@", at + 1)


def _readings(raw: bytes) -> Iterator[bytes]:
    yield raw
    if b"=" in raw:
        yield a2b_qp(raw)
    for block in _BASE64.finditer(raw):
        try:
            yield a2b_base64(block[0])
        except Error:
            continue
