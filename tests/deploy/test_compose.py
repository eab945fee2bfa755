"""compose.yaml is one, all that it names is there, each service starts with what it is given; no engine is at hand."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from yarl import URL

from tests.deploy.compose import DEPLOY, example, interpolated, read
from tests.deploy.settings import KINDS
from tests.deploy.settings import read as read_settings
from tracepost import rights
from tracepost.keys import read as read_keys
from tracepost.settings import ApiSettings, DatabaseSettings, Settings

COMPOSE = read(example())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("tracepost:")}
RUNNING = {name: each for name, each in OURS.items() if each.get("restart")}
PYTHON = {name: each for name, each in OURS.items() if each["command"][0] == "python"}

ours = pytest.mark.parametrize("name", OURS)
running = pytest.mark.parametrize("name", RUNNING)
python = pytest.mark.parametrize("name", PYTHON)


def names(told: Any, key: str = "source") -> set[str]:
    """Of what a list names in its short or its long form, or a mapping by its keys."""
    return {each[key] if isinstance(each, dict) else each.partition(":")[0] for each in told or ()}


def settings_of(name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read with the files of those secrets alone that it is given."""
    told = PYTHON[name]
    given = {f"/run/secrets/{each}": str(secrets / each) for each in names(told["secrets"])}
    environment = {key: given.get(value, value) for key, value in told["environment"].items()}
    return read_settings(KINDS[told["command"][2]], environment, monkeypatch)


def test_it_follows_the_specification() -> None:
    PyCompose.from_yaml(yaml.safe_dump(COMPOSE)).to_spec()


def test_what_is_no_key_of_the_specification_is_noticed() -> None:
    broken = COMPOSE | {"services": SERVICES | {"pixel": SERVICES["pixel"] | {"helthcheck": {}}}}
    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_yaml(yaml.safe_dump(broken))


@pytest.mark.parametrize("kind", ["secrets", "networks", "volumes"])
def test_what_services_use_is_declared_and_what_is_declared_is_used(kind: str) -> None:
    used = set[str]().union(*(names(each.get(kind)) for each in SERVICES.values()))
    folders = {each for each in used if each.startswith(".")}
    assert used - folders == COMPOSE[kind].keys()


def test_who_is_waited_for_is_there_and_ends_or_tells_how_it_is() -> None:
    for each in SERVICES.values():
        waited = each.get("depends_on", {})
        for name, how in waited.items() if isinstance(waited, dict) else ():
            assert how["condition"] == (
                "service_healthy" if SERVICES[name].get("restart") else "service_completed_successfully"
            )
            assert ("healthcheck" in SERVICES[name]) == bool(SERVICES[name].get("restart"))


def test_every_secret_is_a_file_that_make_secrets_makes(secrets: Path) -> None:
    files = {name: each["file"] for name, each in COMPOSE["secrets"].items()}
    assert files == {name: f"./secrets/{name}" for name in files}
    assert files.keys() <= {file.name for file in secrets.iterdir()}


def test_every_folder_and_file_of_ours_is_there() -> None:
    for each in SERVICES.values():
        for source in names(each.get("volumes")) - {"./dkim"}:
            assert not source.startswith(".") or (DEPLOY / source).is_dir(), source
    assert (DEPLOY / OURS["sender"]["build"]["context"] / OURS["sender"]["build"]["dockerfile"]).is_file()


def test_every_service_is_run() -> None:
    assert {each["command"][2] for each in RUNNING.values()} == KINDS.keys()
    migrated = {each["command"][2] for each in PYTHON.values() if "--migrate" in each["command"]}
    assert migrated == {module for module, kind in KINDS.items() if issubclass(kind, DatabaseSettings)}


@python
def test_a_service_starts_with_the_settings_that_it_is_given(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, secrets, monkeypatch)
    assert settings.admin_port == 9100
    if name in RUNNING:
        assert settings.host == "0.0.0.0"
        assert URL(settings.amqp_url.get_secret_value()).user == name
        assert settings.drain_timeout < float(RUNNING[name]["stop_grace_period"].removesuffix("s"))
    if isinstance(settings, ApiSettings):
        assert settings.keys()


@python
def test_only_who_migrates_knows_the_owner_of_the_tables(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, secrets, monkeypatch)
    if isinstance(settings, DatabaseSettings):
        migrates = "--migrate" in PYTHON[name]["command"]
        assert settings.migrate == migrates
        assert (URL(settings.database_url.get_secret_value()).user or "").endswith("_owner") == migrates


@running
def test_published_ports_are_those_that_the_service_listens_on(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, secrets, monkeypatch)
    ports = {value for field, value in settings if field.endswith("port") and field not in ("admin_port", "mx_port")}
    listened = ports - {None}  # that of LMTP, for a mail server beside it
    assert {int(each.rpartition(":")[2]) for each in RUNNING[name]["ports"]} == listened
    assert "outside" in RUNNING[name]["networks"]  # an internal network publishes nothing


@ours
def test_a_container_of_ours_may_do_nothing_that_it_need_not(name: str) -> None:
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]
    assert OURS[name]["security_opt"] == ["no-new-privileges:true"]
    assert not OURS[name].keys() & {"privileged", "cap_add", "user", "network_mode", "pid"}


@running
def test_a_running_container_is_asked_whether_it_is_ready(name: str) -> None:
    assert "http://127.0.0.1:9100/readyz" in RUNNING[name]["healthcheck"]["test"][-1]
    assert {"limits", "reservations"} == RUNNING[name]["deploy"]["resources"].keys()


def test_no_image_is_the_latest_of_somebody_else() -> None:
    for name, each in SERVICES.items():
        tag = each["image"].partition(":")[2]
        assert name in OURS or (tag and tag != "latest"), each["image"]


def test_the_users_of_the_broker_have_their_passwords() -> None:
    given = names(SERVICES["topology"]["secrets"])
    assert {f"amqp-password-{user}" for user in rights.SERVICES} | {"amqp-management-url"} == given


def test_who_we_are_must_be_said() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    for variable in ("TRACEPOST_HOSTNAME", "TRACEPOST_RELAYS", "TRACEPOST_BOUNCE_DOMAIN", "TRACEPOST_PIXEL_URL"):
        with pytest.raises(KeyError, match=variable):
            interpolated(text, example() | {variable: ""})


def test_secrets_are_made_once_and_kept_from_others(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o077 == 0
    assert len(set(before.values())) == len(before)
    subprocess.run([DEPLOY / "make-secrets", secrets, "elsewhere"], check=True)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == before


def test_the_operators_key_opens_the_apis(secrets: Path) -> None:
    keys = read_keys((secrets / "api-keys").read_text())
    client = keys.find((secrets / "api-key-operator").read_text())
    assert client
    assert client.scopes == {"send", "read", "operate", "override"}
