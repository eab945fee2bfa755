"""systemd's units as systemd reads them: drop-ins added, specifiers resolved, files of variables read."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "systemd"
COMMON = FOLDER / "tracepost-.service.d" / "common.conf"
STATE = "/var/lib"

Values = Mapping[str, list[str]]  # by the name of a directive, those of all its lines


def directives(lines: Iterable[str]) -> Values:
    """Whatever section they are in: no name that we use is in two."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        name, is_one, value = line.partition("=")
        if is_one and not line.startswith(("#", ";", "[")):
            found[name].append(value)
    return found


def unit(name: str) -> Values:
    """The unit, with what stands in the drop-in for all."""
    base, _, rest = name.partition("@")
    file = FOLDER / (f"{base}@.service" if rest else name)
    return directives([*file.read_text().splitlines(), *COMMON.read_text().splitlines()])


def variables(told: Values, credentials: Path) -> dict[str, str]:
    """The environment of the process, where its credentials lie in this folder."""
    found = _assigned(" ".join(told["Environment"]).split())
    for file in told["EnvironmentFile"]:
        found |= _assigned(_lines(FOLDER / Path(file).name))
    for name in " ".join(told["UnsetEnvironment"]).split():
        found.pop(name, None)
    return {name: value.replace("%d", str(credentials)).replace("%S", STATE) for name, value in found.items()}


def credentials(told: Values, instance: str) -> dict[str, str]:
    """What is loaded from where, by the name that it has in the folder of credentials."""
    return _assigned((each.replace("%i", instance) for each in told["LoadCredential"]), ":")


def module(told: Values, instance: str) -> str:
    """The module that is started."""
    (command,) = told["ExecStart"]
    found = re.search(r"-m (\S+)", command.replace("%i", instance))
    assert found, command
    return found[1]


def _assigned(pairs: Iterable[str], separator: str = "=") -> dict[str, str]:
    return dict(pair.split(separator, 1) for pair in pairs)


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
