"""A service at rest has loaded no library that only some settings need: each takes megabytes in every process."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

SPARED = {
    "sender": {"cryptography", "typer"},  # for DKIM keys, which not everyone has
    "pixel": {"asyncpg", "cryptography", "dns", "typer"},
    "bounce_ingest": {"dns", "typer"},
    "status_store": {"cryptography", "dns", "typer"},
}


@pytest.mark.parametrize("service", SPARED)
def test_what_only_some_need_is_not_loaded_by_all(service: str) -> None:
    program = f"import sys, {service}.app; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(told.stdout.split())
    assert f"{service}.settings" in loaded
    assert all(map(find_spec, SPARED[service])), "a name that does not exist is never loaded"
    assert not loaded & SPARED[service]
