"""What is to be examined, as people write it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.signatures import BOTH, key_files
from tracepost.cli.app import app
from tracepost.doctor.asked import read, resolver


def test_domains_addresses_and_keys_are_read(tmp_path: Path) -> None:
    found = read(
        "Bücher.Example.",
        bounce_domain="bounces.bücher.example",
        hostname="localhost",
        addresses=["192.0.2.5", "2001:db8::5"],
        keys=key_files(tmp_path, BOTH),
    )
    assert (found.sender, found.bounce) == ("xn--bcher-kva.example", "bounces.xn--bcher-kva.example")
    assert found.addresses == (ip_address("192.0.2.5"), ip_address("2001:db8::5"))
    assert (found.hostname, found.include, found.tracking) == ("", "", "")
    assert [key.record for key in found.keys] == [key.record for key in BOTH]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"domain": "no domain"}, "invalid characters"),
        ({"domain": "example.org", "addresses": ["mx.example.org"]}, "'mx.example.org' is no IP address"),
        ({"domain": "example.org", "keys": "example.org=/key.pem"}, "is no DKIM key"),
        ({"domain": "example.org", "keys": "example.org:s=/nowhere/key.pem"}, "/nowhere/key.pem"),
        ({"domain": "example.org", "keys": f"example.org:s={__file__}"}, "is no private key in PEM"),
    ],
)
def test_what_cannot_be_read_is_told(fields: dict[str, str], words: str) -> None:
    with pytest.raises((ValueError, OSError), match=words):
        read(**fields)


def test_whom_to_ask() -> None:
    assert [str(each) for each in resolver(["192.0.2.53", "2001:db8::53@5353"]).nameservers] == [
        "Do53:192.0.2.53@53",
        "Do53:2001:db8::53@5353",
    ]
    with pytest.raises(ValueError, match="is no IP address"):
        resolver(["ns.example.org"])


def test_the_command_says_what_it_cannot_read() -> None:
    argv = ["doctor", "dns", "--domain", "example.org"]
    done = CliRunner().invoke(app, argv, env={"TRACEPOST_SENDER_BOUNCE_DOMAIN": "no domain"})
    assert (done.exit_code, "invalid characters" in done.output) == (1, True)
