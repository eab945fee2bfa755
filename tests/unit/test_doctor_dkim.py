"""Published DKIM keys beside our own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tests.signatures import ED25519, RSA
from tracepost.dkim_private import Key
from tracepost.doctor import dkim
from tracepost.doctor.findings import Finding

OTHER = Key("example.org", "rsa", generate_private_key(65537, 1024))


def test_a_key_that_is_published() -> None:
    assert dkim.judge(RSA, [RSA.record]) == [
        Finding("DKIM key rsa._domainkey.example.org", "ok", "rsa with 2048 bits is published")
    ]
    assert [each.level for each in dkim.judge(ED25519, [ED25519.record])] == ["ok"]
    # White space, the order and whatever has a default are of no weight.
    p = RSA.record.partition("p=")[2]
    assert [each.level for each in dkim.judge(RSA, [f"p={p[:50]} {p[50:]} ; t=s; h=sha1:sha256; n=a note"])] == ["ok"]


FAULTS = {
    "another key": (RSA, OTHER.record, "another key is published"),
    "revoked": (RSA, "v=DKIM1; p=", "is revoked"),
    "no key": (RSA, "v=DKIM1; k=rsa", "has no p="),
    "another kind": (ED25519, RSA.record, "k=rsa is published, and the key is ed25519"),
    "another version": (RSA, RSA.record.replace("DKIM1", "DKIM2"), "does not begin with v=DKIM1"),
    "another digest": (RSA, f"{RSA.record}; h=sha1", "does not allow sha256"),
    "not for mail": (RSA, f"{RSA.record}; s=tlsrpt", "keeps the key from mail"),
    "no tags": (RSA, "v=DKIM1; what", "is not valid: 'what' is no tag"),
}


@pytest.mark.parametrize(("key", "text", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_with_the_record_to_publish(key: Key, text: str, words: str) -> None:
    found = dkim.judge(key, [text])
    assert any(words in each.found for each in found)
    assert {each.level for each in found} == {"error"}
    assert all(each.remedy.startswith(f"publish {key.selector}._domainkey.example.org. TXT ") for each in found)


def test_a_record_that_is_not_there_or_twice_there() -> None:
    [missing] = dkim.judge(RSA, [])
    pieces = missing.remedy.split('"')[1::2]
    assert "".join(pieces) == RSA.record
    assert max(map(len, pieces)) <= 255
    [twice] = dkim.judge(RSA, [RSA.record, RSA.record])
    assert "has 2 TXT records" in twice.found


def test_what_weakens_a_key() -> None:
    short = replace(OTHER, selector="old")
    assert [each.found for each in dkim.judge(short, [short.record])] == [
        "it has 1024 bits, which some receivers take for weak"
    ]
    [tried] = dkim.judge(RSA, [f"{RSA.record}; t=y:s"])
    assert (tried.level, tried.remedy) == ("warning", "take t=y out of the record")


def test_whose_keys_sign_for_a_domain() -> None:
    below = replace(ED25519, domain="mail.example.org")
    assert dkim.of_domain([RSA, below], "mail.example.org") == [below]
    assert dkim.of_domain([RSA, below], "shop.example.org") == [RSA]
    assert dkim.of_domain([RSA], "example.com") == []
    assert "DKIM_KEYS" in dkim.without("example.com").remedy
