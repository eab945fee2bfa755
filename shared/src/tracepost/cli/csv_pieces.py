"""Cuts a long CSV into pieces that a service takes, each with the header, between records."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import NamedTuple

MOST_CHARACTERS = 256 * 1024


class Piece(NamedTuple):
    """A part of the file behind the file's header; what follows that header begins on line `begins` of the file."""

    header_lines: int
    begins: int
    text: str

    def line(self, number: int) -> int:
        """The line of the file that is this one of the piece."""
        return number if number <= self.header_lines else number - self.header_lines - 1 + self.begins


def pieces(text: str, most: int = MOST_CHARACTERS) -> Iterator[Piece]:
    """The file in order, in pieces of about so many characters; there is always one."""
    records = _records(text.removeprefix("\ufeff"))
    _, header = next(records, (1, ""))
    lines = header.count("\n")
    begins, body, size = lines + 1, list[str](), 0
    for line, record in records:
        if size >= most:
            yield Piece(lines, begins, header + "".join(body))
            begins, body, size = line, [], 0
        body.append(record)
        size += len(record)
    yield Piece(lines, begins, header + "".join(body))


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Each record with the line on which it begins; from where it is no CSV on, all that is left, as one."""
    # Not splitlines(), for which a field may hold the end of a line that is none in CSV.
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]
    reader, begins = csv.reader(lines), 0
    try:
        for _ in reader:
            yield begins + 1, "".join(lines[begins : reader.line_num])
            begins = reader.line_num
    except csv.Error:
        yield begins + 1, "".join(lines[begins:])
