"""The words of words.toml, by what they tell."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

Meaning = Literal[
    "automatic",
    "announcement",
    "challenge",
    "complaint",
    "contact",
    "delay",
    "failure",
    "final",
    "label",
    "mail_system",
    "object",
    "original",
    "originator",
    "sentence",
    "subject",
    "subscription",
    "success",
    "weak_label",
]


def tells(meaning: Meaning, text: str) -> bool:
    """Whether a text, in lower case, holds one of the words that have this meaning."""
    return any(map(text.__contains__, words(meaning)))


def one_of(meaning: Meaning) -> str:
    """A regular expression for one of these words as a whole."""
    longest_first = sorted(words(meaning), key=len, reverse=True)
    return rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})"


def words(meaning: Meaning) -> tuple[str, ...]:
    """All that have this meaning, in any language."""
    return _table()[meaning]


@cache
def _table() -> dict[str, tuple[str, ...]]:
    data = tomllib.loads(files(__package__).joinpath("words.toml").read_text("utf-8"))
    return {meaning: tuple(word for words in by.values() for word in words) for meaning, by in data.items()}
