"""Places in the feed of changes; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import to_json

LAST = 2**31 - 1

PATTERN = "(0|[1-9][0-9]{0,17})(?:-([1-9][0-9]{0,8}))?"
_WRITTEN = re.compile(PATTERN)


class Cursor(NamedTuple):
    """After this message, by its place from 1, among those that changed under this number; LAST: after all of them."""

    number: int
    place: int = LAST

    def __str__(self) -> str:
        return str(self.number) if self.place == LAST else f"{self.number}-{self.place}"


def cursor(text: object) -> Cursor:
    """The cursor that was written so; ValueError says what one looks like."""
    if isinstance(text, Cursor):
        return text
    if not (found := _WRITTEN.fullmatch(str(text))):
        raise ValueError("is no cursor of ours: take that of an item or a page, 0 for the oldest, or none for now")
    return Cursor(int(found[1]), int(found[2] or LAST))


CursorText = Annotated[Cursor, BeforeValidator(cursor), WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$"})]


class Item(NamedTuple):
    """The newest state of a message that changed; `text` is what clients are told, in JSON."""

    cursor: Cursor
    message_id: str
    app: str | None
    text: str


class Page(NamedTuple):
    """Items in order, and the place after all that was looked at; `more`: there may be more by now."""

    items: Sequence[Item]
    end: Cursor
    more: bool


def item(row: Mapping[str, Any]) -> Item:
    """Of a row of `changes_after`; made by hand, because what comes from our own tables needs no check."""
    after = Cursor(row["number"], row["place"])
    head = {
        "cursor": str(after),
        "message_id": row["message_id"],
        "version": row["version"],
        "status": row["status"],
        "reference": row["reference"],
        "app": row["app"],
    }
    text = f'{to_json(head).decode()[:-1]},"rollup":{row["rollup"]}}}'
    return Item(after, row["message_id"], row["app"], text)
