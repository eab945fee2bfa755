"""Writes header fields, folded and encoded, and reads a header block over; pure."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Sequence
from email.utils import quote

from tracepost.addresses import parse

LONGEST_LINE = 998  # RFC 5322, 2.1.1, without the line end

_LINE = 78
_LONGEST_PIECE = LONGEST_LINE - _LINE  # a name of 76 characters and a colon may stand before it
_ENCODED_WORD = 75
_IN_A_PHRASE = 68  # fits beside the longest name of an address header, `Reply-To: `
_FRAME = len("=?utf-8?q??=")

_PIECE = re.compile(" *[^ ]+")
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_IN_A_BLOCK = bytes(range(32, 127)) + b"\r\n"
# What RFC 2047, 5 (3), admits in a phrase is admitted everywhere.
_BARE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/")
_QUOTED = ["_" if byte == 32 else chr(byte) if byte in _BARE else f"={byte:02X}" for byte in range(256)]


Fields = Sequence[tuple[str, str]]
"""Names, and the whole fields with their line ends."""


class HeadersAltered(Exception):
    """The header block does not say what was meant: it must not be sent."""


def verbatim(name: str, value: str) -> str:
    """The field on one line, as it is."""
    return f"{name}: {printable(name, value)}\r\n"


def printable(name: str, value: str) -> str:
    """The value; HeadersAltered if it could break out of its field."""
    if not value.isprintable():
        raise HeadersAltered(f"{name} holds a control character")
    return value


def unstructured(name: str, value: str) -> str:
    """The field of a text (RFC 5322, 2.2.1) that reads back as it is, white space included."""
    if reads_as_it_is(value) and value == value.strip():
        if len(name) + 2 + len(value) <= _LINE:
            return verbatim(name, value)
        pieces = _PIECE.findall(value)
        if max(map(len, pieces)) <= _LONGEST_PIECE:
            return folded(name, pieces)
    return folded(name, encoded_words(value, _LINE - len(name) - 2, _ENCODED_WORD))


def mailboxes(name: str, texts: Sequence[str]) -> str:
    """The field of a list of mailboxes; names in ASCII, and of the addresses those that have such a form."""
    pieces: list[str] = []
    for text in texts:
        first, *further = _mailbox(text)
        if pieces:
            pieces[-1] += ","
            first = f" {first}"
        pieces += [first, *further]
    return folded(name, pieces)


def verbatims(*named: tuple[str, str]) -> list[tuple[str, str]]:
    """Fields on one line each."""
    return [(name, verbatim(name, value)) for name, value in named]


def joined(named: Fields) -> bytes:
    """A header block, or a part of one."""
    return "".join([field for _, field in named]).encode()


def folded(name: str, pieces: Sequence[str]) -> str:
    """Folded before pieces, which start with their white space; the first stays beside the name, as readers expect."""
    lines, line = [], f"{name}: {pieces[0]}"
    for piece in pieces[1:]:
        if len(line) + len(piece) > _LINE:
            lines.append(line)
            line = piece
        else:
            line += piece
    return "\r\n".join([*lines, line, ""])


def encoded_words(text: str, first: int, further: int) -> list[str]:
    """RFC 2047, in UTF-8 and the shorter encoding; no longer than `first` and `further` unless one character is."""
    if _CONTROL.search(text):
        raise HeadersAltered("a value holds a control character")
    quoted, based = _q(text.encode()), _b(text.encode())
    if min(len(quoted), len(based)) <= first - _FRAME:
        return [f"=?utf-8?q?{quoted}?=" if len(quoted) <= len(based) else f"=?utf-8?b?{based}?="]
    if len(quoted) <= len(based):
        chunks = _chunks(text, lambda char: len(_q(char.encode())), first - _FRAME, further - _FRAME)
        words = [f"=?utf-8?q?{_q(chunk.encode())}?=" for chunk in chunks]
    else:
        chunks = _chunks(text, lambda char: len(char.encode()), (first - _FRAME) // 4 * 3, (further - _FRAME) // 4 * 3)
        words = [f"=?utf-8?b?{_b(chunk.encode())}?=" for chunk in chunks]
    return [words[0], *(f" {word}" for word in words[1:])]


def reads_as_it_is(text: str) -> bool:
    """Whether the text means itself in a field: ASCII that looks like an encoded word would be read as one."""
    return text.isascii() and text.isprintable() and "=?" not in text


def check(block: bytes, names: Sequence[bytes], *, utf8: bool = False) -> None:
    """Read the block (without its last line end) by lines; HeadersAltered unless it has these fields, in this order.

    With `utf8` (RFC 6532) it may hold what is printable beyond ASCII.
    """
    lines = block.split(b"\r\n")
    found = [line for line in lines if not line.startswith(b" ")]
    if len(found) != len(names) or not all(map(bytes.startswith, found, [name + b":" for name in names])):
        raise HeadersAltered(f"meant {names}, wrote {[line.partition(b':')[0] for line in found]}")
    if block.count(b"\r") != len(lines) - 1 or block.count(b"\n") != len(lines) - 1:
        raise HeadersAltered("half a line end stands in a field")
    if not _is_printable(block, utf8=utf8) or any(map(bytes.isspace, lines)) or max(map(len, lines)) > LONGEST_LINE:
        raise HeadersAltered("a line is blank, or too long, or holds what no field may")


def _is_printable(block: bytes, *, utf8: bool) -> bool:
    if not utf8 or block.isascii():
        return not block.translate(None, _IN_A_BLOCK)
    try:
        return block.decode().replace("\r\n", "").isprintable()
    except UnicodeDecodeError:
        return False


def _mailbox(text: str) -> list[str]:
    name, address = parse(text)
    return [*_phrase(name), f" <{address}>"] if name else [address]


def _phrase(name: str) -> list[str]:
    if reads_as_it_is(name):
        if _ATOMS.fullmatch(name):
            return _PIECE.findall(name)
        quoted = f'"{quote(name)}"'
        if len(quoted) <= _IN_A_PHRASE:
            return [quoted]
    return encoded_words(name, _IN_A_PHRASE, _IN_A_PHRASE)


def _q(raw: bytes) -> str:
    return "".join(map(_QUOTED.__getitem__, raw))


def _b(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode()


def _chunks(text: str, weigh: Callable[[str], int], first: int, further: int) -> Iterator[str]:
    chunk, left = "", first
    for char in text:
        weight = weigh(char)
        if weight > left and chunk:
            yield chunk
            chunk, left = "", further
        chunk += char
        left -= weight
    yield chunk
