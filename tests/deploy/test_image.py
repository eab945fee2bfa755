"""The Dockerfile by hadolint's word, and what is installed into the image; no image is built here."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.conftest import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PACKAGES = ("tracepost", "tracepost-sender", "tracepost-pixel", "tracepost-bounce-ingest", "tracepost-status-store")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(file: Path) -> dict[str, str]:
    """The lines of a file of requirements by the name that they pin."""
    lines = [line for line in file.read_text().splitlines() if "==" in line]
    return {normal(re.split(r"[=\[ ]", line)[0]): line for line in lines}


def needed(package: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """All that a package needs here, whatever needs it."""
    found: set[str] = set()
    for each in map(Requirement, requires(package) or ()):
        wanted = not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
        if wanted:
            found |= {normal(each.name)} | needed(each.name, frozenset(each.extras))
    return found


def test_hadolint_finds_no_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold=style", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_nobody_in_particular() -> None:
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["10001:10001"]


def test_it_installs_exactly_what_the_services_need_in_the_versions_that_are_tested() -> None:
    image, tested = pinned(ROOT / "deploy" / "requirements.txt"), pinned(ROOT / "requirements.txt")
    ours = set(PACKAGES)
    assert set().union(*map(needed, PACKAGES)) - ours == image.keys() - {"colorama"}  # that one is for Windows
    assert {name: tested.get(name) for name in image} == image


def test_what_it_copies_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(), re.MULTILINE)
    kept = re.findall(r"^!(.+)$", DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert set(copied) == set(kept)
    assert all((ROOT / each).exists() for each in copied)
