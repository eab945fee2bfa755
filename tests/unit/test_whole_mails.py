"""Whole mails in `raw`: what every parser reads alike passes; all else is refused with the reason."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from email import message_from_bytes
from email.policy import compat32, default
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.samples import body, modest, refused, request, told, uuid7_at
from tests.unit.test_requests import ENCODED_ATTACKS
from tracepost import wholemail
from tracepost.requests import SendRequest, decode, encode, stored

SMALL = b"From: Shop <shop@example.org>\r\nTo: ann@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"


def raw_body(raw: bytes, **fields: Any) -> bytes:
    """A send request of a whole mail."""
    return body(**{"subject": None, "text": None, "raw": b64encode(raw).decode()} | fields)


def raw_request(raw: bytes, **fields: Any) -> SendRequest:
    return decode(raw_body(raw, **fields))


def test_a_whole_mail_is_taken_and_encoded_again() -> None:
    made = raw_request(SMALL)
    assert (made.raw, made.subject_line, made.tracking("full")) == (SMALL, "Grüße", "off")
    assert decode(encode(made)) == made
    assert decode(encode(request(subject="a"))).subject_line == "a"


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_lines_may_end_as_they_like(end: bytes) -> None:
    made = wholemail.read(SMALL.replace(b"\r\n", end))
    assert made == wholemail.read(SMALL)
    assert made.body == b"Hello\r\n"


def test_folded_fields_are_kept_whole() -> None:
    mail = wholemail.read(b"From: a@example.org\r\nX-Note:\r\n\ta\r\n  b\r\nSubject: c\r\n\r\n")
    assert [(each.name, each.value) for each in mail.fields][1:] == [("X-Note", "a  b"), ("Subject", "c")]
    assert mail.fields[1].text == "\r\n a\r\n  b"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (b"Message-ID: <1@x>\r\n", "Message-ID is set by Tracepost"),
        (b"DKIM-Signature: v=1\r\n", "DKIM-Signature"),
        (b"Return-Path: <>\r\n", "Return-Path"),
        (b"Received: from x\r\n", "Received"),
        (b"Tracepost-Token: b+x\r\n", "Tracepost-Token"),
        (b"Resent-To: b@x.org\r\n", "Resent-To"),
        (b"ARC-Seal: i=1\r\n", "ARC-Seal"),
        (b"Feedback-ID: a:b\r\n", "Feedback-ID"),
        (b"Sender: b@example.org\r\n", "Sender"),
        (b"From: b@example.org\r\n", "gives from more than once"),
        (b"subject: b\r\n", "gives subject more than once"),
        (b"Content-Type: text/plain\r\nContent-Type: text/html\r\n", "content-type"),
        (b"X-Note: \xc3\xa4\r\n", "non-ASCII"),
        (b"X-Note: a\x0bb\r\n", "control"),
        (b"X-Note: a\0b\r\n", "U\\+0000"),
        (b"X Note: a\r\n", "no header name"),
        (b"X-Note : a\r\n", "no header name"),
        (b": a\r\n", "no header name"),
        (b"X-Note\r\n", "no field"),
        (b"From me\r\n", "no field"),
        (b" a\r\n", "white space"),
        (b"X-Note: a\r\n \r\n", "blank line"),
        (b"\r\n", "no field"),
        (b"X-Note: " + b"a" * 991 + b"\r\n", "998"),
        (b"X-Note: " + b" ".join([b"a" * 60] * 2) + b"\r\n" + b"X-Note: a\r\n" * 200, "200"),
        (b"X-Note: a\r\n" * 6000, "65536"),
    ],
)
def test_a_header_that_could_mislead_is_refused(before: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wholemail.read(before + SMALL)
    assert told(refused(raw_body(before + SMALL))).keys() == {"/raw"}


@pytest.mark.parametrize("attack", ENCODED_ATTACKS.values(), ids=ENCODED_ATTACKS.keys())
@pytest.mark.parametrize("name", ["Subject", "To", "X-Note"])
def test_a_line_break_hidden_in_an_encoded_word_is_refused(name: str, attack: str) -> None:
    raw = f"From: shop@example.org\r\n{name}: {attack}\r\n\r\n".encode()
    assert name in told(refused(raw_body(raw)))["/raw"]


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        (b"", "no single mailbox"),
        (b"From: a@example.org, b@example.org\r\n", "no single mailbox"),
        (b"From: shop@example.org)ceo@example.com\r\n", "no single mailbox"),
        (b"From: ceo@example.com\r\n", "another address"),
        (b"From: shop@example.org <ceo@example.com>\r\n", ""),
    ],
)
def test_the_sender_is_the_requests_own(sender: bytes, words: str) -> None:
    assert words in told(refused(raw_body(sender + b"Subject: a\r\n\r\n")))["/raw"]


def test_the_sender_may_be_spelt_otherwise() -> None:
    assert raw_request(b'From: "Shop" <SHOP@Example.org>\r\n\r\n').raw


def test_a_long_line_of_the_body_is_refused() -> None:
    assert "998" in told(refused(raw_body(SMALL + b"a" * 999)))["/raw"]
    assert raw_request(SMALL + b"a" * 998).raw


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"text": "a"}, {"/raw"}),
        ({"html": "a", "attachments": [{"content": ""}]}, {"/raw"}),
        ({"subject": "a"}, {"/raw"}),
        ({"headers": {"X-Note": "a"}}, {"/raw"}),
        ({"reply_to": ["a@example.org"]}, {"/raw"}),
        ({"track_opens": "full"}, {"/track_opens"}),
        ({"track_opens": "day"}, {"/track_opens"}),
    ],
)
def test_what_would_be_lost_beside_a_whole_mail_is_refused(fields: dict[str, Any], pointers: set[str]) -> None:
    assert told(refused(raw_body(SMALL, **fields))).keys() == pointers


def test_a_whole_mail_brings_its_list_unsubscribe_or_gets_one() -> None:
    url = "https://example.org/u"
    assert raw_request(SMALL, list_unsubscribe=url, track_opens="off").list_unsubscribe
    own = b"List-Unsubscribe: <https://example.org/v>\r\n" + SMALL
    assert raw_request(own).raw
    assert told(refused(raw_body(own, list_unsubscribe=url))).keys() == {"/list_unsubscribe"}


def test_faults_of_a_whole_mail_and_others_are_named_together() -> None:
    problem = refused(raw_body(b"nonsense", to=["ann"], expires_after=1))
    assert told(problem).keys() == {"/raw", "/to/0", "/expires_after"}


def test_each_attachment_that_html_cannot_name_is_named() -> None:
    parts = [{"content": "", "content_id": cid} for cid in ("a", "b", "a")]
    assert told(refused(body(html="a", attachments=parts))).keys() == {"/attachments/2/content_id"}
    assert len(told(refused(body(attachments=parts)))) == 3
    assert len(request(html="a", attachments=parts[:2]).attachments) == 2


def test_base64_may_have_line_breaks() -> None:
    made = request(attachments=[{"content": "YWJj\r\nZGVm\n"}])
    assert made.attachments[0].content == b"abcdef"
    assert json.loads(encode(made))["attachments"] == [{"content": "YWJjZGVm"}]


def test_a_stored_whole_mail_is_read_back() -> None:
    assert stored(raw_body(SMALL, message_id=str(uuid7_at(time.time() - 86_400 * 30)))).raw == SMALL


@modest
@given(
    st.lists(
        st.sampled_from([b"From: a@x.org", b"To:", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"a", b"\xff", b"=?"])
    )
)
@example([b"From: a@x.org", b"\r\n", b"\r\n"])
def test_any_bytes_are_read_as_the_library_reads_them_or_refused(parts: list[bytes]) -> None:
    raw = b"".join(parts)
    try:
        mail = wholemail.read(raw)
    except ValueError:
        return
    for policy in (compat32, default):
        assert message_from_bytes(raw, policy=policy).keys() == [each.name for each in mail.fields]
