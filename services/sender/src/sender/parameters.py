"""Writes parameters of MIME fields: file names by RFC 2231, and by RFC 2047 for older readers; pure."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import quote

from sender import fields

_SHORT = 60  # in quotation marks; what is longer is continued on further lines
_PIECE = 58  # beside ` filename*99*=utf-8''` and a semicolon

_BARE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&+-.^_`{|}~")  # RFC 2231, 7
_ESCAPED = [chr(byte) if byte in _BARE else f"%{byte:02X}" for byte in range(256)]


def filename(name: str) -> list[str]:
    """Pieces of a Content-Disposition, each with the white space before it."""
    if _is_plain(name):
        return [f' filename="{quote(name)}"']
    pieces = list(_pieces("".join(map(_ESCAPED.__getitem__, name.encode()))))
    if len(pieces) == 1:
        return [f" filename*=utf-8''{pieces[0]}"]
    last = len(pieces) - 1
    return [
        f" filename*{number}*={'' if number else chr(39).join(['utf-8', '', ''])}{piece}{'' if number == last else ';'}"
        for number, piece in enumerate(pieces)
    ]


def name(text: str) -> list[str]:
    """Pieces of a Content-Type that say the same to readers which know no RFC 2231."""
    if _is_plain(text):
        return [f' name="{quote(text)}"']
    first, *further = fields.encoded_words(text, _SHORT, _SHORT)
    if not further:
        return [f' name="{first}"']
    return [f' name="{first}', *further[:-1], f'{further[-1]}"']


def _is_plain(text: str) -> bool:
    # Readers take quotation marks and angle brackets off twice, where a text begins with its own.
    return (
        not text.startswith(('"', "<"))
        and fields.reads_as_it_is(text)
        and text == text.strip()
        and "  " not in text
        and len(quote(text)) <= _SHORT
    )


def _pieces(escaped: str) -> Iterator[str]:
    at = 0
    while at < len(escaped):
        end = at + _PIECE
        # An escape is not torn apart.
        end -= next((back for back in (1, 2) if escaped[end - back : end - back + 1] == "%"), 0)
        yield escaped[at:end]
        at = end
