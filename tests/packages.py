"""Packages with migrations of their own, made for one test."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


class Package:
    """A package that can be imported; its files may change while the test runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = f"package_{secrets.token_hex(4)}"
        self._migrations = folder / self.name / "sql" / "migrations"
        self._migrations.mkdir(parents=True)
        (folder / self.name / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, self.name, raising=False)

    def write(self, files: Mapping[str, str]) -> None:
        """Replace the migrations by these."""
        for each in self._migrations.iterdir():
            each.unlink()
        for name, text in files.items():
            (self._migrations / name).write_text(text, "utf-8")
