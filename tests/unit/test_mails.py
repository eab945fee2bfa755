"""Whole mails from a mail program or a script, as `tracepost send` reads them."""

from __future__ import annotations

import base64
from email.headerregistry import Address
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracepost.cli.mails import read
from tracepost.client.composing import request

MAIL = b"From: Ann <ann@example.org>\nTo: Bob <bob@example.org>, cy@example.org\nSubject: Hello\n\nHello\n"

local = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
# The library itself writes a comma after a name beyond ASCII wrongly, where it folds.
names = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=10).map(str.strip)


def raw(handed: dict[str, object]) -> bytes:
    return base64.b64decode(str(handed["raw"]))


def test_it_goes_to_everybody_whom_it_names() -> None:
    told, left_out = read(MAIL.replace(b"Subject", b'Cc: "Dee, D." <dee@example.org>\nBcc: e@example.org\nSubject'))
    assert told["from"] == "Ann <ann@example.org>"
    assert told["to"] == ["Bob <bob@example.org>", "cy@example.org"]
    assert (told["cc"], told["bcc"]) == (['"Dee, D." <dee@example.org>'], ["e@example.org"])
    assert left_out == []
    asked = request(told, {})
    assert len(asked.recipients) == 4
    assert asked.subject_line == "Hello"


def test_what_tells_of_a_way_that_it_has_not_gone_is_left_out_and_named() -> None:
    before = b"From ann Mon Jan  1\nReceived: by a\n\tfor b\nMessage-ID: <x@y>\nReturn-Path: <z@y>\nSender: s@y\n"
    told, left_out = read(before + MAIL)
    assert left_out == ["From_", "Received", "Message-ID", "Return-Path", "Sender"]
    assert raw(told) == MAIL
    request(told, {})


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_what_stays_stays_as_it_was(ends: bytes) -> None:
    mail = MAIL.replace(b"\n", ends)
    assert raw(read(mail)[0]) == mail
    assert raw(read(b"Message-ID: <x@y>" + ends + mail)[0]) == mail


def test_a_mail_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="no From"):
        read(b"Hello\n\nthere")


@pytest.mark.parametrize(
    "to", [b"ann@example.org; bob@example.org", b"Ann <ann@example.org", b"Bob", b"a@b.org c@d.org"]
)
def test_no_recipient_is_passed_over(to: bytes) -> None:
    with pytest.raises(ValueError, match="its To is no list"):
        read(MAIL.replace(b"Bob <bob@example.org>", to))


@settings(max_examples=25)
@given(st.lists(st.tuples(names, local), min_size=1, max_size=5, unique_by=lambda pair: pair[1]))
def test_recipients_are_read_as_the_standard_library_writes_them(people: list[tuple[str, str]]) -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ann@example.org", "Hello"
    mail["To"] = [Address(name, each, "example.org") for name, each in people]
    mail.set_content("Hello")
    told, _ = read(mail.as_bytes())
    assert [each.address for each in request(told, {}).recipients] == [f"{each}@example.org" for _, each in people]
