"""Grafana's dashboards ask for what there is, in expressions that Prometheus can read."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_stack import binaries
from tests.conftest import ROOT
from tests.deploy.prometheus import declared, promtool, strange

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = {file.name: json.loads(file.read_text()) for file in sorted(GRAFANA.glob("dashboards/*.json"))}

each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def panels(name: str) -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


def expressions(name: str) -> list[str]:
    """As Grafana sends them."""
    found = [target["expr"] for panel in panels(name) for target in panel["targets"]]
    return [each.replace("$__rate_interval", "5m") for each in found]


@each_dashboard
def test_promtool_can_read_every_expression(name: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions(name))]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": rules}]}))
    try:
        code, said = promtool("check", "rules", "--lint=none", file)
    except binaries.Missing as error:
        pytest.skip(str(error))
    assert code == 0, said
    assert f"{len(rules)} rules found" in said


@each_dashboard
def test_an_expression_asks_for_series_and_labels_that_there_are(name: str) -> None:
    recorded = re.findall(r"record: (\S+)", (ROOT / "deploy/prometheus/alerts.yml").read_text())
    for each in expressions(name):
        assert strange(each) - {"version"} == set(), each
        assert set(re.findall(r"\w+:\w+:\w+", each)) <= set(recorded)


@each_dashboard
def test_a_legend_names_labels_that_the_expression_leaves(name: str) -> None:
    for panel in panels(name):
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
                whole = not re.search(r"\b(sum|max|min|count)\b", target["expr"])
                assert whole or any(label in each for each in grouped), (panel["title"], label)


@each_dashboard
def test_panels_have_ids_of_their_own_and_do_not_lie_on_one_another(name: str) -> None:
    all_of_them = DASHBOARDS[name]["panels"]
    assert set(Counter(panel["id"] for panel in all_of_them).values()) == {1}
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in all_of_them)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert set(cells.values()) == {1}
    assert max(x for x, _ in cells) < 24


@each_dashboard
def test_a_dashboard_asks_the_data_source_that_is_chosen(name: str) -> None:
    assert DASHBOARDS[name]["uid"]
    assert [each["name"] for each in DASHBOARDS[name]["templating"]["list"]] == ["datasource"]
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels(name))


def test_every_metric_is_shown_or_watched() -> None:
    told = " ".join(each for name in DASHBOARDS for each in expressions(name))
    told += (ROOT / "deploy/prometheus/alerts.yml").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", series) for series in declared()}
    assert {each for each in families if each not in told} == set()


def test_grafana_finds_the_dashboards_and_prometheus() -> None:
    provided = yaml.safe_load((GRAFANA / "provisioning/dashboards/tracepost.yaml").read_text())
    compose = (ROOT / "deploy/compose.yaml").read_text()
    assert f"./grafana/dashboards:{provided['providers'][0]['options']['path']}:ro" in compose
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
