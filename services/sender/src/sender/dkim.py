"""Signs mails by DKIM (RFC 6376), relaxed/relaxed, with rsa-sha256 and ed25519-sha256 (RFC 8463); pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from sender import fields

if TYPE_CHECKING:
    from tracepost.dkim_private import Key

# Each is signed once more than it occurs, so that none can be added: these even where they are absent …
_ALWAYS = (
    *(b"from", b"to", b"cc", b"reply-to", b"subject", b"date", b"message-id", b"in-reply-to", b"references"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding"),
)
# … and these where they are present, for a mailing list may add its own.
_IF_THERE = (b"list-unsubscribe", b"list-unsubscribe-post", b"feedback-id", b"content-disposition", b"content-id")

_WHITE_SPACE = re.compile(rb"[ \t]{2,}|\t")
_OF_A_LINE = 60  # characters of the list of names
_BASE64_LINE = 72


class Unsigned(NamedTuple):
    """A message with CRLF line ends, the keys that are to sign it, and when they do."""

    message: bytes
    keys: Sequence[Key]
    time: datetime


class Draft(NamedTuple):
    """A DKIM-Signature that lacks its value: the key, what that is to sign, and the field's pieces."""

    key: Key
    data: bytes
    pieces: Sequence[str]


def signed(unsigned: Unsigned) -> bytes:
    """The message with a DKIM-Signature of each key before it."""
    found = drafts(unsigned)
    return finished(unsigned.message, found, values(found))


def drafts(unsigned: Unsigned) -> list[Draft]:
    """For each key; what they have in common is worked out once."""
    head, _, body = unsigned.message.partition(b"\r\n\r\n")
    found = _fields(head)
    names = [name for name in (*_ALWAYS, *_IF_THERE) if name in _ALWAYS or name in found]
    # Of several fields the last comes first (RFC 6376, 5.4.2).
    canonical = b"".join([field for name in names for field in reversed(found.get(name, ()))])
    listed = _listed(tuple(name for name in names for _ in range(len(found.get(name, ())) + 1)))
    about = [f" t={int(unsigned.time.timestamp())};", *listed, f" bh={_base64(sha256(relaxed(body)).digest())};", " b="]
    return [_draft(key, about, canonical) for key in unsigned.keys]


def values(found: Sequence[Draft]) -> list[bytes]:
    """The mathematics."""
    return [each.key.sign(each.data) for each in found]


def finished(message: bytes, found: Sequence[Draft], values: Sequence[bytes]) -> bytes:
    """The message with the signatures before it."""
    return b"".join([*map(_field, found, values), message])


def relaxed(body: bytes) -> bytes:
    """The body's canonical form (RFC 6376, 3.4.4)."""
    if b"  " in body or b"\t" in body:
        body = _WHITE_SPACE.sub(b" ", body)
    body = body.replace(b" \r\n", b"\r\n").removesuffix(b" ")
    ended = body.rstrip(b"\r\n")
    return ended + b"\r\n" if ended else b""


def _fields(head: bytes) -> Mapping[bytes, Sequence[bytes]]:
    """By name the fields' canonical forms (RFC 6376, 3.4.2), in order."""
    lines = _WHITE_SPACE.sub(b" ", head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")).split(b"\r\n")
    found: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        found.setdefault(name, []).append(b"%b:%b\r\n" % (name, value.strip(b" ")))
    return found


def _draft(key: Key, about: Sequence[str], canonical: bytes) -> Draft:
    whose = [f"v=1; a={key.algorithm}-sha256;", " c=relaxed/relaxed;", f" d={key.domain};", f" s={key.selector};"]
    # The pieces begin with one space each, so that joined they are the canonical form of the folded field.
    own = "dkim-signature:" + "".join([*whose, *about])
    return Draft(key, canonical + own.encode(), [*whose, *about])


def _field(draft: Draft, raw: bytes) -> bytes:
    value = _base64(raw)
    lines = [f" {value[at : at + _BASE64_LINE]}" for at in range(0, len(value), _BASE64_LINE)]
    return fields.folded("DKIM-Signature", [*draft.pieces, *lines]).encode()


@lru_cache(64)  # mails of one kind have the same fields
def _listed(names: Sequence[bytes]) -> list[str]:
    """The pieces of `h=`."""
    return list(_pieces([name.decode() for name in names]))


def _pieces(names: Sequence[str]) -> Iterator[str]:
    piece = f" h={names[0]}"
    for name in names[1:]:
        if len(piece) + len(name) > _OF_A_LINE:
            yield f"{piece}:"
            piece = f" {name}"
        else:
            piece += f":{name}"
    yield f"{piece};"


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
