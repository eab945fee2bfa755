"""Who loaded a pixel, by real user agents and header sets, each with the source of the fact."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from hashlib import sha256
from importlib.resources import files
from typing import Any, get_args

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import example, given
from hypothesis import strategies as st

from pixel.verdict import counts, judge, rules, version
from tests.conftest import ROOT
from tests.unit.samples import modest
from tracepost.events import Verdict

VERSIONS = {2: "a386863f937b23dd"}  # the digest of the rules by the version of the table
FACTS = tomllib.loads((ROOT / "tests/data/openers.toml").read_text("utf-8"))["fact"]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: f"{fact['rule']}: {fact['agent'][:40]}")
def test_a_real_request_is_judged(fact: dict[str, Any]) -> None:
    headers = {"user-agent": fact["agent"]} | ({"from": fact["from"]} if "from" in fact else {})
    judgement = judge(headers, relayed=fact.get("relayed", False))
    assert judgement == (fact["verdict"], fact["rule"], fact.get("client"))
    assert fact["source"]


def test_every_rule_decides_for_some_request() -> None:
    names = [rule.judgement.rule for rule in rules()]
    assert len(set(names)) == len(names)
    assert {fact["rule"] for fact in FACTS} == {*names, "no-user-agent", "no-rule"}
    assert version() > 1


def test_a_change_of_the_table_raises_its_version() -> None:
    table = tomllib.loads(files("pixel").joinpath("verdicts.toml").read_text("utf-8"))
    digest = sha256(json.dumps(table["rule"], sort_keys=True).encode()).hexdigest()
    assert (table["version"], digest[:16]) == (version(), VERSIONS[version()]), "raise the version, and note the digest"


def test_proxies_that_carry_opens_come_before_everything_that_calls_them_bots() -> None:
    verdicts = [rule.judgement.verdict for rule in rules()]
    assert verdicts.index("bot") > max(place for place, verdict in enumerate(verdicts) if verdict == "proxied")
    assert judge({"user-agent": "Mozilla/5.0 (compatible; crawler bot) GoogleImageProxy"}).verdict == "proxied"


def test_what_the_broad_list_names_is_a_bot_unless_we_know_better() -> None:
    judged = Counter[str]()
    for entry in CRAWLER_USER_AGENTS_DATA:
        for agent in entry["instances"]:
            found = judge({"user-agent": agent})
            judged[found.rule if found.verdict != "bot" else "bot"] += 1
    bots = judged.pop("bot")
    assert bots > 2_000
    # The two proxies that carry opens, and a few that hide behind what a mail client says.
    assert judged["gmail-image-proxy"] == judged["yahoo-image-proxy"] == 1
    assert judged.total() < bots / 100, judged


def test_the_list_is_looked_through_as_its_patterns_say() -> None:
    [crawlers] = [rule.crawlers for rule in rules() if rule.crawlers]
    patterns = [re.compile(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA]
    some = [
        *(each for entry in CRAWLER_USER_AGENTS_DATA for each in entry["instances"][:1]),
        *(f["agent"] for f in FACTS),
    ]
    for agent in some[::5]:
        assert crawlers.name(agent) == any(pattern.search(agent) for pattern in patterns), agent
    assert len(crawlers.words) > 1_000


def test_an_absent_agent_and_an_unknown_one_have_rules_of_their_own() -> None:
    assert judge({}).rule == judge({"user-agent": ""}).rule == "no-user-agent"


@modest
@given(st.text(max_size=600), st.booleans())
@example("(" * 300, False)
@example("Mozilla/5.0" * 20, True)
def test_any_agent_is_judged(agent: str, relayed: bool) -> None:
    found = judge({"user-agent": agent}, relayed=relayed)
    assert found.verdict in get_args(Verdict)
    assert found.rule


# what can be an open at all


def test_a_plain_get_counts() -> None:
    assert counts("GET", {})
    assert counts("GET", {"user-agent": "prefetch", "x-moz": ""})


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_another_method_does_not_count(method: str) -> None:
    assert not counts(method, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("sec-purpose", "prefetch;anonymous-client-ip"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
        ("x-purpose", "Prefetch"),
        ("sec-purpose", "PREFETCH"),
    ],
)
def test_a_browser_that_looks_ahead_does_not_count(name: str, value: str) -> None:
    assert not counts("GET", {name: value})


@pytest.mark.parametrize("name", ["purpose", "x-purpose"])
def test_a_preview_does_not_count(name: str) -> None:
    assert not counts("GET", {name: "preview"})
