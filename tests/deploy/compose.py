"""compose.yaml as an engine would read it: variables in their places, YAML's merges made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<way>[-?])(?P<word>[^}]*))?\}")


def example() -> dict[str, str]:
    """The variables of example.env."""
    lines = (DEPLOY / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """As the specification says it; KeyError names a variable that must be set."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if told := variables.get(found["name"]):
            return told
        if found["way"] == "?":
            raise KeyError(found["name"])
        return found["word"] or ""

    return _VARIABLE.sub(value, text)


def read(variables: Mapping[str, str]) -> Any:
    """The whole file."""
    return _resolved(yaml.safe_load((DEPLOY / "compose.yaml").read_text()), variables)


def _resolved(told: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(told, dict):
        return {name: _resolved(value, variables) for name, value in told.items()}
    if isinstance(told, list):
        return [_resolved(value, variables) for value in told]
    return interpolated(told, variables) if isinstance(told, str) else told
