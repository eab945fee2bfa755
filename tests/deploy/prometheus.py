"""Debian's Prometheus and promtool, and what expressions say of the metrics that they ask for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from local_stack import binaries
from tests.conftest import ROOT
from tracepost import metrics

FOLDER = ROOT / "deploy" / "prometheus"
_UNPACKED = ROOT / ".local" / "peers" / "prometheus"

# What Prometheus adds to each series, and what a histogram's buckets have.
GIVEN = frozenset({"job", "instance", "service", "le"})

_NAME = re.compile(r"(?<![\w:])tracepost_\w+")
_SELECTED = re.compile(r"(tracepost_\w+)\s*\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def program(name: str) -> Path:
    """prometheus or promtool, unpacked from Debian's package; binaries.Missing where that is impossible."""
    if not _UNPACKED.exists():
        binaries.unpack("prometheus", _UNPACKED)
    return _UNPACKED / "usr" / "bin" / name


def promtool(*arguments: str | Path) -> tuple[int, str]:
    """Its exit code and its words."""
    done = subprocess.run(
        [program("promtool"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def declared() -> Mapping[str, frozenset[str]]:
    """The labels of every series that the services can have, by its name."""
    found: dict[str, frozenset[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            for series in _series(metric):
                found[series] = frozenset(metric._labelnames)
    return found


def _series(metric: MetricWrapperBase) -> Iterable[str]:
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    return (metric._name + ending for ending in endings.get(metric._type or "", ("",)))


def strange(expression: str) -> set[str]:
    """Names of series, and labels, that no metric of ours has."""
    known = declared()
    names = set(_NAME.findall(expression))
    labels = GIVEN.union(*(known.get(name, frozenset()) for name in names))
    asked = {label for grouped in _GROUPED.findall(expression) for label in re.findall(r"\w+", grouped)}
    wrong = names - known.keys() | asked - labels
    for name, selector in _SELECTED.findall(expression):
        wrong |= set(_LABEL.findall(selector)) - GIVEN - known.get(name, frozenset())
    return wrong
