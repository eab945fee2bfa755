"""Makes the fields of a send request of a whole mail (RFC 5322), as a mail program or a script hands it over."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from email import policy
from email.errors import InvalidHeaderDefect
from email.headerregistry import AddressHeader
from email.parser import BytesHeaderParser
from typing import Any, NamedTuple

from tracepost import headers

_END = re.compile(rb"\r?\n\r?\n")
_LISTS = ("to", "cc", "bcc")


class Handed(NamedTuple):
    """The fields of a request, and the headers of the mail that were left out, for Tracepost writes them itself."""

    fields: dict[str, Any]
    left_out: Sequence[str]


def read(mail: bytes) -> Handed:
    """The mail to everybody whom it names; ValueError says what keeps it from being sent."""
    clean, left_out = _cleaned(mail)
    found = BytesHeaderParser(policy=policy.default).parsebytes(clean)
    fields: dict[str, Any] = {"raw": base64.b64encode(clean).decode()}
    if found["from"] is None:
        raise ValueError("the mail has no From; a mail begins with its header, and a blank line follows that")
    fields["from"] = str(found["from"])
    for name in _LISTS:
        if named := [str(each) for header in found.get_all(name, ()) for each in _addresses(name, header)]:
            fields[name] = named
    return Handed(fields, left_out)


def _addresses(name: str, header: AddressHeader) -> Sequence[object]:
    # What cannot be read is passed over by the library, and the rest of the list with it.
    if any(isinstance(each, InvalidHeaderDefect) for each in header.defects):  # type: ignore[attr-defined]  # has them
        raise ValueError(f"its {name.title()} is no list of mailboxes: write Name <address>, separated by commas")
    return header.addresses


def _cleaned(mail: bytes) -> tuple[bytes, list[str]]:
    """Without what tells of a way that the mail has not gone yet, and what that was."""
    end = _END.search(mail)
    head, rest = (mail[: end.start()], mail[end.start() :]) if end else (mail, b"")
    kept, left_out = [], []
    for name, field in _fields(head):
        if _is_ours(name):
            left_out.append(name)
        else:
            kept.append(field)
    return b"".join(kept).removesuffix(b"\n").removesuffix(b"\r") + rest, left_out


def _fields(head: bytes) -> Iterator[tuple[str, bytes]]:
    """Each field's name, and the field with all its lines; a mailbox file's first line, From_, goes as one."""
    whole = b""
    for line in (head + b"\n").splitlines(keepends=True):
        if line[:1] in (b" ", b"\t"):
            whole += line
            continue
        if whole:
            yield _name(whole), whole
        whole = line
    yield _name(whole), whole


def _name(field: bytes) -> str:
    if field.startswith((b"From ", b">From ")):
        return "From_"
    return field.partition(b":")[0].decode("ascii", "replace").strip()


def _is_ours(name: str) -> bool:
    if name == "From_" or name.lower() == "sender":
        return True
    try:
        headers.whole_name(name)
    except ValueError as error:
        return "is set by Tracepost" in str(error)
    return False
