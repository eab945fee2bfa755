"""The command line without any service: how fast it starts, what it refuses, the keys that it makes, its exit codes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.unit.samples import KEYRING
from tracepost import dkim_keys, dkim_private
from tracepost.cli import csv_pieces, keys
from tracepost.cli.app import app
from tracepost.cli.ending import code_of, finished
from tracepost.cli.telling import plain
from tracepost.client import Refused, Unanswered, Unconfirmed, Unreachable
from tracepost.problems import Fault, Problem
from tracepost.settings import Settings

HEAVY = {"aio_pika", "aiohttp", "asyncio", "asyncpg", "cryptography", "pydantic", "rich", "structlog", "dns"}
MESSAGE_ID = UUID("01900000-0000-7000-8000-000000000000")
ELSEWHERE = {"TRACEPOST_API_URL": "http://127.0.0.1:1", "TRACEPOST_SENDER_URL": "http://127.0.0.1:1"}


def run(*argv: str, given: str | None = None, **env: str) -> Result:
    content = given and given.encode(errors="surrogateescape")
    return CliRunner().invoke(app, argv, input=content, env={**ELSEWHERE, **env})


def commands(of: Any = None, above: str = "") -> Iterator[tuple[str, Any]]:
    group: Any = of or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above}{name} ")
        else:
            yield above + name, command


def test_it_starts_without_what_only_some_commands_need() -> None:
    told = "import sys, tracepost.cli.app; print(*{each.partition('.')[0] for each in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True).stdout.split()
    assert "typer" in loaded
    assert not HEAVY & set(loaded)


def test_every_command_says_what_it_does_and_speaks_json() -> None:
    for name, command in commands():
        options = {option for each in command.params for option in each.opts}
        assert "--json" in options or name == "topology show", name
        assert command.help.split(".")[0][0].isupper(), name
    told = run("send", "--help", COLUMNS="200")
    assert told.exit_code == 0
    assert "--list-unsubscribe" in told.output


def test_the_commands_are_those_that_people_look_for() -> None:
    found = {name.partition(" ")[0] for name, _ in commands()}
    assert found >= {"send", "status", "watch", "events", "why", "queue", "suppressions", "quarantine", "dead", "keys"}
    assert found >= {"topology", "doctor"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused(Problem(code="x", title="x", status=401)), os.EX_NOPERM),
        (Refused(Problem(code="x", title="x", status=403)), os.EX_NOPERM),
        (Refused(Problem(code="x", title="x", status=404)), 1),
        (Refused(Problem(code="x", title="x", status=409)), 1),
        (Refused(Problem(code="x", title="x", status=422)), os.EX_DATAERR),
        (Refused(Problem(code="x", title="x", status=503)), os.EX_TEMPFAIL),
        (Refused(Problem(code="x", title="x", status=500)), os.EX_SOFTWARE),
        (Unreachable("x"), os.EX_UNAVAILABLE),
        (Unconfirmed(MESSAGE_ID, "x"), os.EX_TEMPFAIL),
        (Unanswered(MESSAGE_ID), os.EX_TEMPFAIL),
        (TimeoutError("x"), 1),
        (FileNotFoundError("x"), os.EX_NOINPUT),
        (PermissionError("x"), os.EX_NOPERM),
        (KeyError("x"), None),
    ],
    ids=repr,
)
def test_each_fault_has_its_exit_code(error: Exception, code: int | None) -> None:
    assert code_of(error) == code


def test_a_service_that_is_away_is_named_with_the_variable_that_says_where_it_is() -> None:
    told = run("status", str(MESSAGE_ID))
    assert told.exit_code == os.EX_UNAVAILABLE
    assert "status-store gives no answer at http://127.0.0.1:1" in told.stderr
    assert "TRACEPOST_API_URL" in told.stderr
    told = run("--sender-url", "nowhere", "queue", "show", "--json")
    assert told.exit_code == os.EX_UNAVAILABLE
    assert "TRACEPOST_SENDER_URL" in json.loads(told.stderr)["title"]


def test_a_bad_request_is_told_every_fault_before_anything_is_sent() -> None:
    argv = ("send", "--from", "nobody", "--to", "ann@example.org", "--header", "Subject: x", "--text", "x")
    told = run(*argv)
    assert told.exit_code == os.EX_DATAERR
    lines = told.stderr.splitlines()
    assert lines[0] == "error: The send request is not valid"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {"from", "headers/Subject"}
    problem = json.loads(run(*argv, "--json").stderr)
    assert {each["pointer"] for each in problem["errors"]} == {"/from", "/headers/Subject"}


@pytest.mark.parametrize(
    ("argv", "given", "code", "words"),
    [
        (("send", "--header", "x", "--text", "x"), None, 2, "name:value"),
        (("send",), "no mail", os.EX_DATAERR, "neither a request in JSON nor a mail"),
        (("send",), "{no JSON", os.EX_DATAERR, "neither a request in JSON nor a mail"),
        (("send", "/nowhere.json"), None, os.EX_NOINPUT, "/nowhere.json"),
        (("send", "--text", "x", "--attach", "/nowhere.pdf"), None, os.EX_NOINPUT, "/nowhere.pdf"),
        (("send", "--from", "a@b.org", "--text-file", "-"), "caf\udce9", os.EX_DATAERR, "byte 3 is no UTF-8"),
        (("status", "no-id"), None, 2, "UUID"),
        (("watch", "--until", "read"), None, 2, "name the messages"),
        (("dead", "drop"), None, 2, "--all"),
        (("queue", "pause", "example.org"), None, 2, "--reason"),
        (("suppressions", "import", "/nowhere.csv"), None, os.EX_NOINPUT, "/nowhere.csv"),
        (("keys", "new", "--client", "shop", "--app", "shop", "--scope", "rule"), None, 2, "scopes"),
        (("keys", "dkim", "no domain"), None, 2, "is no DKIM key"),
    ],
)
def test_a_wrong_use_is_told_with_the_remedy(argv: tuple[str, ...], given: str | None, code: int, words: str) -> None:
    told = run(*argv, given=given, COLUMNS="200")
    assert told.exit_code == code, told.output
    assert words in told.output


def test_a_root_key_joins_those_that_are_there() -> None:
    first = run("keys", "root", TRACEPOST_TOKEN_KEYS="")
    value = first.output.splitlines()[1].removeprefix("TRACEPOST_TOKEN_KEYS=")
    told = json.loads(run("keys", "root", "--json", TRACEPOST_TOKEN_KEYS=value).output)
    assert told["value"] == f"{value},{told['key']}"

    class OfAny(Settings):
        service = "any"

    keyring = OfAny(token_keys=told["value"], admin_port=0).keyring()
    assert keyring.return_path(MESSAGE_ID, 0, "ann@example.org")[0] == 2  # signs
    assert OfAny(token_keys=told["value"], admin_port=0).token_key_began() is not None
    assert keyring != KEYRING


def test_dkim_keys_are_written_for_their_owner_alone_and_the_records_are_those_of_the_setting(tmp_path: Path) -> None:
    argv = (
        "keys",
        "dkim",
        "Example.org",
        "--selector",
        "s1",
        "--folder",
        str(tmp_path),
        "--begins",
        "2026-07-01",
        "--json",
    )
    told = json.loads(run(*argv).output)
    files = dkim_keys.read(told["dkim_keys"].split(","))
    assert [each.begins and each.begins.isoformat()[:10] for each in files] == ["2026-07-01"] * 2
    for file, made in zip(files, told["keys"], strict=True):
        path = Path(file.path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = dkim_private.Key(file.domain, file.selector, dkim_private.private(path.read_bytes()))
        assert (key.algorithm, key.record) == (made["algorithm"], made["record"])
        assert made["name"] == f"s1-{key.algorithm}._domainkey.example.org"
    before = Path(files[0].path).read_bytes()
    assert run(*argv).exit_code == 2
    assert Path(files[0].path).read_bytes() == before


def test_a_record_is_cut_into_strings_that_dns_takes() -> None:
    record = "v=DKIM1; k=rsa; p=" + "A" * 392
    cut = keys.strings(record)
    assert all(len(each) <= 255 for each in cut.strip('"').split('" "'))
    assert cut.replace('" "', "") == f'"{record}"'


def test_nothing_that_a_remote_server_says_steers_the_terminal() -> None:
    assert (
        plain("550 \x1b]0;title\x07no\x9b1m \u202euser\tknown\r\n")
        == "550 \ufffd]0;title\ufffdno\ufffd1m \ufffduser\tknown\n"
    )
    assert plain(None) == ""


def test_a_fault_of_a_whole_request_is_named_so() -> None:
    problem = Problem(code="x", title="Bad", errors=(Fault(pointer="", detail="is \x1b[2J empty"),), more_errors=3)
    assert str(Refused(problem)) == "Bad: the request is \x1b[2J empty"


@pytest.mark.parametrize("most", [1, 24, 10_000])
def test_a_long_csv_is_cut_between_records_and_lines_are_those_of_the_file(most: int) -> None:
    rows = ["ann@example.org,asked\r\n", 'bob@example.org,"two\nlines, ""quoted"""\n', "cy@example.org,\u2028\x85\n"]
    text = "\ufeffaddress,why\r\n" + "".join(rows)
    cut = list(csv_pieces.pieces(text, most))
    assert len(cut) == {1: 3, 24: 2, 10_000: 1}[most]
    assert "".join(each.text.removeprefix("address,why\r\n") for each in cut).rstrip() == "".join(rows).rstrip()
    assert all(each.text.startswith("address,why\r\n") for each in cut)
    # As the service counts: the header is line 1, and a record has the line on which it begins.
    assert [cut[0].line(1), cut[0].line(2)] == [1, 2]
    last = cut[-1].text.splitlines().index("cy@example.org,") + 1
    assert cut[-1].line(last) == 5


@pytest.mark.parametrize("text", ["", "address\n", "address"])
def test_a_csv_without_lines_is_one_piece_for_the_service_to_judge(text: str) -> None:
    [piece] = csv_pieces.pieces(text)
    assert piece.text.strip() == text.strip()


def test_json_stands_alone_on_standard_output(tmp_path: Path) -> None:
    told: Any = json.loads(run("keys", "new", "--client", "a", "--app", "*", "--scope", "read", "--json").stdout)
    assert told["entry"]["client"] == "a"
    assert told["key"].startswith("tp_a_")


def test_who_has_read_enough_is_no_fault() -> None:
    async def printing() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):  # which click takes for the end
        finished(printing())
