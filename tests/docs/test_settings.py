"""docs/settings.md names every setting of every service, once, and no other."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.deploy.settings import KINDS
from tracepost.settings import Settings

DOCUMENT = (ROOT / "docs" / "settings.md").read_text()
each_service = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def documented(text: str, service: str) -> list[str]:
    """The names in the first column of what holds for every service, and of the service's own table."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return sorted(re.findall(r"^\| `(\w+)` \|", sections["Every service"] + sections[service], re.MULTILINE))


def settings(kind: type[Settings]) -> list[str]:
    """Those that people set: a parent sets some of its workers'."""
    told = ((name, field.description or "") for name, field in kind.model_fields.items())
    return sorted(name.upper() for name, description in told if not description.startswith("set by the parent"))


@each_service
def test_every_setting_is_explained(kind: type[Settings]) -> None:
    assert documented(DOCUMENT, kind.service) == settings(kind)


@each_service
def test_a_setting_that_is_left_out_or_gone_is_noticed(kind: type[Settings]) -> None:
    for text in (DOCUMENT.replace("| `LOG_LEVEL` |", "| |"), DOCUMENT.replace("`ADMIN_PORT`", "`ADMINS_PORT`")):
        assert documented(text, kind.service) != settings(kind)
