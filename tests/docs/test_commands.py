"""What the documents tell to type is there: programs and their options, targets, units, services, paths of the APIs."""

from __future__ import annotations

import io
import re
import runpy
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from importlib.metadata import entry_points

import pytest
import yaml

from status_store.openapi import document
from tests.conftest import ROOT
from tests.docs.blocks import Block, all_blocks, commands

# Of others: what they do with their options is not ours to test.
OTHERS = {
    *("cat", "cp", "createdb", "date", "dig", "head", "base64", "tr", "install", "openssl", "printf"),
    *("psql", "pg_dump", "pg_restore", "python3", "pip"),
}

ADMIN = ("readyz", "livez", "metrics", "mailbox")  # of ports that are no APIs
OURS = ("deploy/", "docs/", "./s")  # where paths begin that are in the repository
MADE = ("deploy/secrets", "deploy/.env")  # by the commands themselves


@lru_cache
def _help(*command: str) -> str:
    """What a program of ours says of itself; nothing if there is no such command."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(io.StringIO()):
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", [*command, "--help"])
        try:
            _started(command[0])
        except SystemExit as end:
            return "" if end.code else said.getvalue()
        except ImportError:
            return ""
    return ""


def _started(program: str) -> None:
    """In this process, for to start one of its own costs a second."""
    if program == "tracepost":
        (script,) = entry_points(group="console_scripts", name=program)
        script.load()()
    with warnings.catch_warnings(action="ignore"):  # a module that was imported before is run once more
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def of_module(words: list[str]) -> str | None:
    command = [word for word in words[3:4] if not word.startswith("-")]
    said = _help(words[2], *command)
    wrong = {option for option in options(words[3:]) if option not in said}
    return None if said and not wrong else f"{words[2]} does not know {wrong or 'itself'}"


def of_tracepost(words: list[str]) -> str | None:
    path = [word for word in words[1:3] if not word.startswith("-")]
    said = _help("tracepost", *path)
    wrong = {option for option in options(words) if option not in said}
    return None if said and not wrong else f"tracepost {' '.join(path)} does not know {wrong or 'itself'}"


def of_make(words: list[str]) -> str | None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return None if words[1] in targets else f"there is no target {words[1]}"


def of_docker(words: list[str]) -> str | None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    named = [word for word in words[4:] if not word.startswith("-") and word not in ("up", "ps", "run")]
    wrong = [name for name in named if name not in services]
    if words[1:4] != ["compose", "--file", "deploy/compose.yaml"] or wrong:
        return f"compose.yaml has no {wrong}"
    return None


def of_systemctl(words: list[str]) -> str | None:
    units = [word for word in words if word.endswith((".service", ".timer", ".target"))]
    files = [re.sub(r"@\w+", "@", unit) for unit in units]
    wrong = [file for file in files if not (ROOT / "deploy" / "systemd" / file).exists()]
    return f"there are no units {wrong}" if wrong else None


def of_curl(words: list[str]) -> str | None:
    (url,) = [word for word in words if word.startswith(("$", "http"))]
    place, _, path = url.partition("/v1")
    if not path:
        return None if url.partition("?")[0].rpartition("/")[2] in ADMIN else f"{url} is no address of ours"
    path = path.partition("?")[0]
    variable = re.sub(r"\\\$[A-Z]+", "[^/]+", re.escape(path)).replace("/0/", "/[^/]+/")
    shape = re.compile(f"/v1{variable}")
    known = _sender_paths() if place == "$SENDER" else set(document()["paths"])
    return None if any(shape.fullmatch(each) for each in known) else f"{place} has no {path}"


@lru_cache
def _sender_paths() -> frozenset[str]:
    files = (ROOT / "services" / "sender" / "src").rglob("*.py")
    text = " ".join(file.read_text() for file in files)
    return frozenset(re.findall(r"\"(/v1/[^\"]*)\"", text))


CHECKS = {"tracepost": of_tracepost, "make": of_make, "docker": of_docker, "systemctl": of_systemctl, "curl": of_curl}


def fault(words: list[str]) -> str | None:
    """What is wrong with a command; None: nothing that we could know."""
    while words[0].startswith(("sudo", "--")) or re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    program = words[0].removeprefix(".venv/bin/")
    if missing := [word for word in words if word.startswith(OURS) and not _is_there(word)]:
        return f"there is no {missing}"
    if program == "python":
        return of_module(words)
    if program in CHECKS:
        return CHECKS[program](words)
    return None if program.rpartition("/")[2] in OTHERS or program.startswith("deploy/") else f"what is {program}?"


def _is_there(path: str) -> bool:
    return path in MADE or any(ROOT.glob(path.removeprefix("./")))


BLOCKS = [block for how in ("check", "run") for block in all_blocks(how) if block.language == "sh"]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_is_typed_is_there(block: Block) -> None:
    found = commands(block)
    assert found
    assert [said for words in found if (said := fault(words))] == []


@pytest.mark.parametrize(
    "command",
    [
        "python -m sender --chek-config",
        "python -m nothing --check-config",
        "tracepost topology aply",
        "tracepost keys new --owner me",
        "make everything",
        "docker compose --file deploy/compose.yaml up senders",
        "systemctl restart tracepost-senders.service",
        "curl $SENDER/v1/nothing",
        "curl $STATUS/v1/message/$MESSAGE",
        "deploy/make-secret here",
        "rabbitmqctl reset",
    ],
)
def test_what_is_not_there_is_noticed(command: str) -> None:
    assert fault(command.split())
