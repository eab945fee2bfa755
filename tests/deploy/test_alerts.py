"""Every alert is sound, tested by promtool both ways, about a metric that is there, and has its runbook."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from local_stack import binaries
from tests.conftest import ROOT
from tests.deploy import prometheus
from tests.deploy.prometheus import FOLDER, promtool

RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS: dict[str, Any] = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
TESTS = sorted(FOLDER.glob("*.test.yml"))

each_alert = pytest.mark.parametrize("name", ALERTS)


@pytest.fixture(scope="module", autouse=True)
def _promtool() -> None:
    try:
        prometheus.program("promtool")
    except binaries.Missing as error:
        pytest.skip(str(error))


def test_promtool_finds_no_fault() -> None:
    code, said = promtool("check", "config", FOLDER / "prometheus.yml")
    assert code == 0, said
    assert f"{len(RULES)} rules found" in said


def test_every_alert_fires_and_is_silent_when_it_should() -> None:
    code, said = promtool("test", "rules", *TESTS)
    assert code == 0, said


@each_alert
def test_an_alert_is_tested_both_ways(name: str) -> None:
    told = [
        bool(each.get("exp_alerts"))
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for each in test["alert_rule_test"]
        if each["alertname"] == name
    ]
    assert set(told) == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_series_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    assert prometheus.strange(expression) == set()
    assert set(re.findall(r"\w+:\w+:\w+", expression)) <= RECORDED
    assert re.search(r"tracepost_|\bup\b", expression)


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(tracepost_nothing_total[5m])", "tracepost_nothing_total"),
        ('tracepost_amqp_blocked{sesion="publisher"} == 1', "sesion"),
        ("sum by (lane) (tracepost_dead_letters)", "lane"),
    ],
)
def test_what_there_is_not_is_noticed(expression: str, wrong: str) -> None:
    assert wrong in prometheus.strange(expression)


def _anchors() -> set[str]:
    text = (ROOT / "docs" / "runbooks.md").read_text()
    return {title.strip().lower() for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}


@each_alert
def test_an_alert_says_how_grave_it_is_and_what_to_do(name: str) -> None:
    assert ALERTS[name]["labels"]["severity"] in ("page", "ticket")
    assert ALERTS[name]["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert name.lower() in _anchors()


def test_the_runbook_is_about_alerts_that_there_are() -> None:
    assert _anchors() == {name.lower() for name in ALERTS}
