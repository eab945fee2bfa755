"""What a service would read from an environment, as compose.yaml or a unit gives it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import pytest

from bounce_ingest.settings import BounceIngestSettings
from pixel.settings import PixelSettings
from sender.settings import SenderSettings
from status_store.settings import StatusStoreSettings
from tracepost.environment import PREFIX
from tracepost.settings import Settings

# By the name of the module that is started.
KINDS: Mapping[str, type[Settings]] = {
    "sender": SenderSettings,
    "pixel": PixelSettings,
    "bounce_ingest": BounceIngestSettings,
    "status_store": StatusStoreSettings,
}


def read(kind: type[Settings], environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings; pydantic.ValidationError for what is missing or wrong, AssertionError for names that are none."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    assert strange(environment) == set()
    return kind.read()


def strange(names: Iterable[str]) -> set[str]:
    """Names of ours that no service knows."""
    known = {
        f"{prefix}{field.upper()}"
        for module, kind in KINDS.items()
        for field in kind.model_fields
        for prefix in (PREFIX, f"{PREFIX}{module.upper()}_")
    }
    return {name for name in names if name.startswith(PREFIX) and name.removesuffix("_FILE") not in known}
