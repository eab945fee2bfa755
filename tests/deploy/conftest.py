"""The secrets of an installation, made as an operator makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import DEPLOY


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that make-secrets has filled."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([DEPLOY / "make-secrets", folder, "rabbitmq", "postgres"], check=True)
    return folder
