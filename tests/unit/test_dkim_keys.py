"""Keys of DKIM: listed with clear errors, aligned with the sender, and changed on their day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from sender.settings import SenderSettings
from tests.signatures import ED25519, RSA
from tracepost.dkim_keys import KeyFile, of_sender, read
from tracepost.dkim_private import Key, private

JULY = datetime(2026, 7, 1, tzinfo=UTC)


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> bytes:
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return written


def test_keys_are_listed_with_domain_selector_and_file() -> None:
    assert read(["example.org:s1=/keys/a=b.pem", " Bücher.example : S2.Mail@2026-07-01 = b.pem"]) == (
        KeyFile("example.org", "s1", "/keys/a=b.pem"),
        KeyFile("xn--bcher-kva.example", "s2.mail", "b.pem", JULY),
    )


def test_a_listed_key_is_printed_as_it_is_written() -> None:
    for entry in ("example.org:s1=/a.pem", "example.org:s1@2026-07-01=/a.pem"):
        assert str(*read([entry])) == entry


@pytest.mark.parametrize(
    "entry",
    [
        "example.org",
        "example.org:s1",
        "example.org:s1=",
        "example.org=/a.pem",
        ":s1=/a.pem",
        "example.org:=/a.pem",
        "example.org:s_1=/a.pem",
        "example.org:s1;x=/a.pem",
        "exam ple.org:s1=/a.pem",
        "example.org:s1@=/a.pem",
        "example.org:s1@tomorrow=/a.pem",
    ],
)
def test_what_is_no_key_is_named_with_the_form_to_write(entry: str) -> None:
    with pytest.raises(ValueError, match="write it as") as raised:
        read([entry])
    assert repr(entry) in str(raised.value)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "no private key in PEM"),
        (b"nonsense", "no private key in PEM"),
        (pem(RSA.private, BestAvailableEncryption(b"secret")), "without a password"),
        (pem(generate_ec(SECP256R1())), "neither an RSA nor an Ed25519 key"),
        (pem(generate_private_key(65537, 1024)), ""),
    ],
)
def test_a_file_that_cannot_sign_is_refused(file: bytes, words: str) -> None:
    if not words:
        assert private(file)
        return
    with pytest.raises(ValueError, match=words):
        private(file)


def settings(**fields: Any) -> SenderSettings:
    needed = {"database_url": "postgresql://x/y", "token_keys": "1:" + "A" * 44, "api_port": 0}
    return SenderSettings.model_validate(
        needed | {"bounce_domain": "bounces.example", "pixel_url": "https://pixel.example"} | fields
    )


def test_the_settings_read_the_files(tmp_path: Path) -> None:
    files = [tmp_path / "rsa.pem", tmp_path / "ed.pem"]
    for file, key in zip(files, (RSA, ED25519), strict=True):
        file.write_bytes(pem(key.private))
    found = settings(dkim_keys=f"example.org:rsa={files[0]}, example.org:ed={files[1]}").dkim()
    assert [key.record for key in found["example.org"]] == [RSA.record, ED25519.record]
    assert settings().dkim() == {}


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read: No such file"), (b"x", "is no private key")])
def test_the_settings_name_the_file_that_is_of_no_use(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "a.pem").write_bytes(content)
    with pytest.raises(ValueError, match=f"DKIM_KEYS: {tmp_path}/a.pem {words}"):
        settings(dkim_keys=f"example.org:s={tmp_path}/a.pem")


# which keys sign


def named(*keys: Key) -> list[str]:
    return [key.selector for key in keys]


def test_keys_sign_for_their_domain_and_those_below() -> None:
    other = Key("mail.example.org", "other", ED25519.private)
    keys = {"example.org": [RSA, ED25519], "mail.example.org": [other]}
    assert named(*of_sender(keys, "example.org", JULY)) == ["rsa", "ed"]
    assert named(*of_sender(keys, "shop.example.org", JULY)) == ["rsa", "ed"]
    assert named(*of_sender(keys, "a.mail.example.org", JULY)) == ["other"]
    assert of_sender(keys, "anexample.org", JULY) == ()
    assert of_sender(keys, "org", JULY) == ()
    assert of_sender({}, "example.org", JULY) == ()


def test_of_each_algorithm_one_key_signs_the_next_from_its_day_on() -> None:
    following = Key("example.org", "next", RSA.private, JULY)
    for keys in ([RSA, following, ED25519], [following, ED25519, RSA]):
        before = of_sender({"example.org": keys}, "example.org", JULY - timedelta(seconds=1))
        assert sorted(named(*before)) == ["ed", "rsa"]
        assert sorted(named(*of_sender({"example.org": keys}, "example.org", JULY))) == ["ed", "next"]


def test_of_several_without_a_day_the_last_signs() -> None:
    later = Key("example.org", "later", RSA.private)
    assert named(*of_sender({"example.org": [RSA, later]}, "example.org", JULY)) == ["later"]


def test_a_key_that_is_not_yet_to_sign_does_not() -> None:
    assert (
        of_sender(
            {"example.org": [Key("example.org", "next", RSA.private, JULY)]},
            "example.org",
            datetime.min.replace(tzinfo=UTC),
        )
        == ()
    )
