"""What holds of every report, whatever the mail was; pure."""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from bounce_ingest.report import NotUnderstood

ADDRESSES = {"final_recipient", "original_recipient", "recipients"}  # the fields that hold them

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_XTEXT = re.compile(rb"\+([0-9A-F]{2})")
_BESIDE = re.compile(r'[^!-~]|["\\<>]')  # what quoting, folding and decoding may add, remove or replace


class Broken(Exception):
    """Its text is the promise."""


def check(mail: bytes, report: object) -> None:
    """Broken if the report of this mail keeps a promise not."""
    if report == NotUnderstood("unreadable"):
        raise Broken("no mail brings about an exception within")
    for _, text in strings(report):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise Broken(f"no lone surrogates, which no database takes: {text!r}")
    named = {text for field, text in strings(report) if field in ADDRESSES}
    if invented := named and [text for text in named if not occurs(text, mail)]:
        raise Broken(f"every address occurs in the mail: {invented}")


def strings(value: object, field: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a report, with the name of its field."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, tuple):
        for each in value:
            yield from strings(each, field)
    elif is_dataclass(value):
        for each in fields(value):
            yield from strings(getattr(value, each.name), each.name)


def occurs(address: str, mail: bytes) -> bool:
    """Whether it stands in the mail as it is, or behind one of the encodings that mail knows."""
    wanted = _plain(address)
    return any(wanted in _plain(text.decode("latin-1")) for text in _decoded(mail))


def _decoded(mail: bytes) -> Iterator[bytes]:
    for text in (mail, quopri.decodestring(mail), quopri.decodestring(mail, header=True), b"".join(_from_base64(mail))):
        yield text
        yield _XTEXT.sub(lambda found: binascii.unhexlify(found[1]), text)


def _from_base64(mail: bytes) -> Iterator[bytes]:
    """Everything that may be base64, wherever its groups of four letters begin."""
    letters = _NOT_BASE64.sub(b"", mail)
    for start in range(4):
        yield binascii.a2b_base64(letters[start : start + (len(letters) - start) // 4 * 4])


def _plain(text: str) -> str:
    return _BESIDE.sub("", text).lower()
