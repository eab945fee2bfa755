"""The documents' code and links. A comment before a block says how it is tested.

`<!-- run -->`: against the running stack. `<!-- check -->`: only that its programs, options, files and paths are there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
TESTED = ("sh", "python")

_BLOCK = re.compile(r"(?:^<!-- (?P<how>\w+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<to>[^)\s]+)\)")


class Block(NamedTuple):
    """A block of code: of which document, from which line on, in which language, and how it is tested."""

    document: Path
    line: int
    language: str
    how: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(document, line, found["language"], found["how"], found["text"])


def all_blocks(how: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document) if block.how == how]


def prose(document: Path) -> str:
    """The document without its code."""
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", document.read_text()))


def links(document: Path) -> list[str]:
    return [found["to"] for found in _LINK.finditer(prose(document))]


def anchors(document: Path) -> set[str]:
    """What a link may name behind a `#`: the titles as GitHub and the site's generator write them."""
    titles = re.findall(r"^#+ (.+)$", _BLOCK.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def commands(block: Block) -> list[list[str]]:
    """The words of each command, those in `$(…)` and behind a pipe too."""
    text = block.text.replace("\\\n", " ")
    inner = re.findall(r"\$\(([^()]*)\)", text)
    plain = re.sub(r"\$\([^()]*\)", "…", text)
    found: list[list[str]] = []
    for each in [*plain.splitlines(), *inner] if "'{\n" not in plain else [plain, *inner]:
        words = shlex.split(each, comments=True)
        current: list[str] = []
        for word in [*words, "|"]:
            if word in ("|", "&&", ";"):
                found += [current] if current else []
                current = []
            else:
                current.append(word)
    return found
