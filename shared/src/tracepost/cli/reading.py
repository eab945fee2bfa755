"""Reads the files that commands are given; what cannot be read ends the command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tracepost.cli.ending import code_of, end

STANDARD = Path("-")


def content(file: Path) -> bytes:
    """The bytes of a file, `-` for standard input."""
    if file == STANDARD:
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        end(code_of(error) or os.EX_IOERR, error)


def text(file: Path) -> str:
    """The same as text, which is UTF-8."""
    try:
        return content(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        end(os.EX_DATAERR, ValueError(f"{file}: byte {error.start} is no UTF-8; save it as text in UTF-8"))
