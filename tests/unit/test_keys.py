"""API keys: found by what is shown, never kept themselves, bounded by app and domain."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from tests.unit.samples import KEYRING
from tracepost import keys
from tracepost.cli.app import app
from tracepost.keys import Client, Keys

HASH = keys.hashed("another")


def entry(**fields: Any) -> dict[str, Any]:
    return {"client": "shop", "app": "shop", "scopes": ["send"], "hashes": [keys.hashed("k")], **fields}


def test_a_client_is_found_by_either_of_its_keys() -> None:
    old, new = keys.new("shop"), keys.new("shop")
    known = keys.read(json.dumps([entry(hashes=[keys.hashed(old), keys.hashed(new)])]))
    assert known.find(old) == known.find(new)
    assert known.find(old) is not None
    assert known.find(old + "x") is None
    assert known.find("") is None


def test_no_clients_are_no_keys() -> None:
    assert not keys.read("")
    assert not keys.read("[]")
    assert keys.read(json.dumps([entry()]))


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": ["everything"]},
        {"hashes": []},
        {"hashes": [keys.hashed("a"), keys.hashed("b"), keys.hashed("c")]},
        {"hashes": ["the key itself"]},
        {"client": "Two Words"},
        {"colour": "red"},
    ],
)
def test_what_is_no_client_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        keys.read(json.dumps([entry(**fields)]))


def test_domains_bound_an_app_that_is_listed_and_no_other() -> None:
    known = Keys([Client.model_validate(entry(sender_domains=["Example.org"]))])
    assert known.may_send_from("shop", "example.org")
    assert not known.may_send_from("shop", "example.net")
    assert known.may_send_from("another", "example.net")
    assert Keys([Client.model_validate(entry(sender_domains=["*"]))]).may_send_from("shop", "example.net")


def test_only_a_client_of_the_app_can_let_it_override() -> None:
    both = ["send", "override"]
    desk = {"client": "desk", "app": "*", "scopes": both}
    known = keys.read(json.dumps([entry(scopes=both), entry(client="news", app="news"), desk | {"hashes": [HASH]}]))
    assert known.may_override("shop")
    assert known.may_override("desk")
    assert not known.may_override("news")
    assert not known.may_override("of nobody")
    assert Keys().may_override("of nobody")


def test_an_app_sees_its_own() -> None:
    assert Client.model_validate(entry()).may_see("shop")
    assert not Client.model_validate(entry()).may_see("another")
    assert not Client.model_validate(entry()).may_see(None)
    assert keys.LOCAL.may_see(None)


def test_the_command_shows_a_key_once_and_an_entry_that_knows_it() -> None:
    told = CliRunner().invoke(app, ["keys", "new", "--client", "shop", "--app", "shop", "--scope", "send"])
    key, made = (line.partition(": ")[2] for line in told.output.splitlines())
    assert keys.read(f"[{made}]").find(key) is not None
    assert key not in made
    refused = CliRunner().invoke(app, ["keys", "new", "--client", "shop", "--app", "shop", "--scope", "rule"])
    assert refused.exit_code == 2


def test_a_session_ends_with_its_key_and_is_no_login() -> None:
    key = keys.new("shop")
    known, without = (keys.read(json.dumps(told), KEYRING) for told in ([entry(hashes=[keys.hashed(key)])], [entry()]))
    session, ends = known.session(keys.hashed(key))
    assert known.of_session(session) == known.find(key)
    assert timedelta(hours=11) < ends - datetime.now(UTC) <= keys.SESSION_LIFETIME
    assert without.of_session(session) is None
    assert known.of_login(session) is None
    assert known.of_session(key) is None


def test_a_login_stands_for_its_key_and_knows_itself() -> None:
    known = keys.read(json.dumps([entry()]), KEYRING)
    first, second = (known.login(keys.hashed("k"))[0] for _ in range(2))
    told, again, other = (known.of_login(each) for each in (first, first, second))
    assert told == again != other
    assert told is not None
    assert known.of_hash(told[1]) == known.find("k")
    assert known.of_session(first) is None


def test_what_another_process_without_root_keys_sealed_is_not_believed() -> None:
    one, other = (keys.read(json.dumps([entry()])) for _ in range(2))
    assert other.of_session(one.session(keys.hashed("k"))[0]) is None
