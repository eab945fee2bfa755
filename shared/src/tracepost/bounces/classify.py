"""Says what a refusal means: its class, its category and the rule of `classes.toml` that decided."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from tracepost.bounces.values import BounceClass

Stage = Literal["connect", "ehlo", "mail", "rcpt", "data"]
"""The SMTP command that was answered; `data` includes the final dot."""

_LONGEST = 2000  # what a server says beyond this no longer names the cause, and could cost time

_ENHANCED = r"[245]\.[0-7]\.\d{1,3}(?!\w|\.\d)"
# A number is a reply code at the start, after punctuation or before an enhanced code, unless it is an amount.
_PLACE = rf"(?:(?:^|[:;<>(#'\"]\s*)(?=...(?:[ -]|$))|\b(?=...[ -]+#?'?{_ENHANCED}))"
_SMTP = re.compile(rf"{_PLACE}([245][0-7]\d)(?! *(?i:[kmg]b|bytes)\b)")
_ENHANCED_IN_TEXT = re.compile(rf"(?<![.\d]){_ENHANCED}")
_BEGINNING = re.compile(r"(?:\\b)?([a-z ]+)(?![?*{])")
_LEADING_GROUP = re.compile(r"(?:\\b)?\((?:\?:)?([^()]+)\)(?![?*{])")
_INNERMOST_GROUP = re.compile(r"\([^()]*\)")
# A local part may hold any word ("spam@", "user.unknown@"): hints look at the server's words alone.
_ADDRESS = re.compile(r"<?[^\s<>@]{1,64}@[^\s<>@:;,]{1,255}>?")
# The codes that every line of a multi-line reply repeats stand between its words.
_REPEATED_CODE = re.compile(rf"(?<=\s)[245]\d\d[ -](?:{_ENHANCED})?")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a message was refused, and the rule that says so."""

    bounce_class: BounceClass
    category: str
    rule: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Applies when everything that it states holds; `example` holds arguments for `classify`.

    `text` holds the words of which one is found: each a pattern and what it may begin with, which is quick to look for.
    """

    cause: Cause
    text: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]
    enhanced: re.Pattern[str] | None
    smtp: re.Pattern[str] | None
    stages: frozenset[str]
    example: dict[str, Any]


def classify(
    text: str, smtp_code: int | None = None, enhanced_code: str | None = None, stage: Stage | None = None
) -> Cause:
    """Classify what a server said; codes that are not given are looked for in the text."""
    found_smtp, found_enhanced = codes(text)
    smtp, enhanced = str(smtp_code or found_smtp or ""), enhanced_code or found_enhanced or ""
    words = _words(text)
    return next(rule.cause for rule in rules() if _applies(rule, words, smtp, enhanced, stage))


def codes(text: str) -> tuple[int | None, str | None]:
    """The first SMTP reply code and enhanced status code (RFC 3463) that stand in a reply or diagnostic."""
    smtp, enhanced = _SMTP.search(text[:_LONGEST]), _ENHANCED_IN_TEXT.search(text[:_LONGEST])
    return int(smtp[1]) if smtp else None, enhanced[0] if enhanced else None


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule in the order in which they are tried; the last one always applies."""
    data = tomllib.loads(files(__package__).joinpath("classes.toml").read_text("utf-8"))
    classes = {category: name for name, categories in data["classes"].items() for category in categories}
    return tuple(_rule(entry, classes) for entry in data["rule"])


def _rule(entry: dict[str, Any], classes: dict[str, BounceClass]) -> Rule:
    text = tuple((_beginnings(pattern), re.compile(pattern)) for pattern in entry.get("text", ()))
    enhanced, smtp = (re.compile(entry[key]) if key in entry else None for key in ("enhanced", "smtp"))
    cause = Cause(classes[entry["category"]], entry["category"], entry["name"])
    return Rule(cause, text, enhanced, smtp, frozenset(entry.get("stages", ())), entry["example"])


def _beginnings(pattern: str) -> tuple[str, ...]:
    """Letters of which some begin all that a pattern matches; none where they are not plain to see."""
    outside = pattern
    while (shorter := _INNERMOST_GROUP.sub("", outside)) != outside:
        outside = shorter
    if "|" in outside:
        return ()
    group = _LEADING_GROUP.match(pattern)
    heads = group[1].split("|") if group else [pattern]
    found = [beginning[1] for head in heads if (beginning := _BEGINNING.match(head))]
    return tuple(found) if len(found) == len(heads) else ()


def _words(text: str) -> str:
    return " ".join(_REPEATED_CODE.sub("", _ADDRESS.sub("@", text[:_LONGEST])).lower().split())


def _applies(rule: Rule, words: str, smtp: str, enhanced: str, stage: str | None) -> bool:
    return (
        (rule.enhanced is None or rule.enhanced.fullmatch(enhanced) is not None)
        and (rule.smtp is None or rule.smtp.fullmatch(smtp) is not None)
        and (not rule.stages or (stage or "unknown") in rule.stages)
        and (not rule.text or _says(rule, words))
    )


def _says(rule: Rule, words: str) -> bool:
    for beginnings, pattern in rule.text:
        if (not beginnings or any(map(words.__contains__, beginnings))) and pattern.search(words):
            return True
    return False
