"""Decides who loaded a pixel, by the first rule of `verdicts.toml` that applies; pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from tracepost.events import Verdict

LONGEST = 500  # characters of a header's value that are looked at: nobody's name is longer
PREFETCH_HINTS = ("sec-purpose", "purpose", "x-moz", "x-purpose")
HEADERS = frozenset((*PREFETCH_HINTS, "user-agent", "from", "x-forwarded-for"))
"""All that the pixel ever looks at, in lower case."""


class Judgement(NamedTuple):
    """The verdict, the rule's name, and the client in words."""

    verdict: Verdict
    rule: str
    client: str | None = None


class Crawlers(NamedTuple):
    """A list of patterns, apart those that are plain words: to look for words takes a tenth of the time."""

    words: tuple[str, ...]
    others: re.Pattern[str]

    def name(self, agent: str) -> bool:
        """Whether the list has it."""
        return any(word in agent for word in self.words) or self.others.search(agent) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """Applies when everything that it states holds."""

    judgement: Judgement
    agent: re.Pattern[str] | None
    sender: re.Pattern[str] | None
    relayed: bool
    crawlers: Crawlers | None


def counts(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the request can be an open at all: not a HEAD, not a browser looking ahead; names in lower case."""
    if method != "GET":
        return False
    hints = [headers[name].lower() for name in PREFETCH_HINTS if name in headers]
    return not any("prefetch" in hint or "preview" in hint for hint in hints)


def judge(headers: Mapping[str, str], *, relayed: bool = False) -> Judgement:
    """Who it was, by the headers (names in lower case) and by whether Apple's relay carried it."""
    return _judged(headers.get("user-agent", "")[:LONGEST], headers.get("from", "")[:LONGEST], relayed)


@lru_cache(maxsize=8192)  # user agents are few, and the broad list takes longer than all else
def _judged(agent: str, sender: str, relayed: bool) -> Judgement:
    for rule in rules():
        if _applies(rule, agent, sender, relayed):
            return rule.judgement
    return Judgement("unknown", "no-rule" if agent else "no-user-agent")


def _applies(rule: Rule, agent: str, sender: str, relayed: bool) -> bool:
    return (
        (relayed or not rule.relayed)
        and (rule.agent is None or rule.agent.search(agent) is not None)
        and (rule.sender is None or rule.sender.search(sender) is not None)
        and (rule.crawlers is None or rule.crawlers.name(agent))
    )


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("verdicts.toml").read_text("utf-8"))


def version() -> int:
    """The version of the table."""
    return int(_table()["version"])


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule in the order in which they are tried."""
    return tuple(_rule(entry) for entry in _table()["rule"])


def _rule(entry: Mapping[str, Any]) -> Rule:
    agent = re.compile("|".join(entry["agent"]), re.IGNORECASE) if "agent" in entry else None
    sender = re.compile(entry["from"]) if "from" in entry else None
    judgement = Judgement(entry["verdict"], entry["name"], entry.get("client"))
    crawlers = _crawlers(CRAWLER_USER_AGENTS_DATA) if entry.get("crawler") else None
    return Rule(judgement, agent, sender, entry.get("relayed", False), crawlers)


def _crawlers(data: Sequence[Mapping[str, Any]]) -> Crawlers:
    words, others = [], []
    for pattern in (entry["pattern"] for entry in data):
        if re.fullmatch(r"(\\\W|[^\\^$.|?*+()[\]{}])+", pattern):
            words.append(re.sub(r"\\(\W)", r"\1", pattern))
        else:
            others.append(pattern)
    return Crawlers(tuple(words), re.compile("|".join(others)))
