"""systemd's units are sound by its own word, and each service starts with what its unit gives it; none was started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from yarl import URL

from local_stack import binaries
from tests.deploy import units
from tests.deploy.settings import KINDS, read, strange
from tests.deploy.units import FOLDER
from tracepost.settings import DatabaseSettings, Settings

RUNNING = ("sender", "pixel", "bounce-ingest", "status-store")
MIGRATING = ("migrate@sender", "migrate@status_store")
EXPOSURE = 16  # tenths; systemd calls up to 20 OK, and a unit without any care has 96

each_unit = pytest.mark.parametrize("name", [*RUNNING, *MIGRATING])


@pytest.fixture(scope="module")
def analyze() -> Path:
    """Debian's systemd-analyze."""
    try:
        return binaries.provide("systemd-analyze", "systemd", print)
    except binaries.Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, with a Python that is here in place of the one in /opt."""
    folder = tmp_path_factory.mktemp("units") / "systemd"
    shutil.copytree(FOLDER, folder)
    python = shutil.which("true")
    for file in folder.glob("*.service"):
        file.write_text(file.read_text().replace("/opt/tracepost/bin/python", str(python)))
    return folder


def asked(analyze: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and the words of systemd-analyze."""
    done = subprocess.run(
        [analyze, "--no-pager", *arguments],
        cwd="/",
        env={"SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def settings_of(name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Read with those credentials alone that the unit loads."""
    instance = name.partition("@")[2]
    told = units.unit(f"tracepost-{name}.service")
    for credential, source in units.credentials(told, instance).items():
        if source.startswith("/etc/tracepost/secrets/"):
            shutil.copy(secrets / Path(source).name, tmp_path / credential)
    return read(KINDS[units.module(told, instance)], units.variables(told, tmp_path), monkeypatch)


def test_systemd_finds_no_fault(analyze: Path, installed: Path) -> None:
    names = [f"tracepost-{name}.service" for name in (*RUNNING, *MIGRATING)]
    timers = [f"tracepost-{name}.timer" for name in MIGRATING]
    assert asked(analyze, installed, "verify", *names, *timers, "tracepost.target") == (0, "")


def test_systemd_finds_what_is_no_directive(analyze: Path, installed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "systemd"
    shutil.copytree(installed, broken)
    unit = broken / "tracepost-pixel.service"
    unit.write_text(unit.read_text().replace("RestartSec=", "RestartSeconds="))
    assert "RestartSeconds" in asked(analyze, broken, "verify", unit.name)[1]


@each_unit
def test_a_unit_may_do_little(analyze: Path, installed: Path, name: str) -> None:
    code, said = asked(
        analyze, installed, "--offline=true", f"--threshold={EXPOSURE}", "security", f"tracepost-{name}.service"
    )
    assert code == 0, said


@each_unit
def test_a_service_starts_with_the_settings_that_its_unit_gives(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_of(name, secrets, monkeypatch, tmp_path)
    if name in RUNNING:
        assert settings.service == name
        assert URL(settings.amqp_url.get_secret_value()).user == name
    if isinstance(settings, DatabaseSettings):
        assert settings.migrate == (name in MIGRATING)
        assert (URL(settings.database_url.get_secret_value()).user or "").endswith("_owner") == (name in MIGRATING)


@each_unit
def test_a_unit_stops_later_than_its_service(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (limit,) = units.unit(f"tracepost-{name}.service")["TimeoutStopSec"]
    assert settings_of(name, secrets, monkeypatch, tmp_path).drain_timeout < float(limit)


def test_the_file_of_variables_names_real_settings() -> None:
    lines = (FOLDER / "tracepost.env").read_text().splitlines()
    named = {line.removeprefix("#").partition("=")[0] for line in lines if "=" in line}
    assert len(named) > 4
    assert strange(named) == set()


def test_every_service_has_a_unit_and_the_target_wants_all() -> None:
    assert {f"tracepost-{name}.service" for name in RUNNING} | {"tracepost-migrate@.service"} == {
        file.name for file in FOLDER.glob("*.service")
    }
    for name in RUNNING:
        assert units.unit(f"tracepost-{name}.service")["WantedBy"] == ["tracepost.target"]
