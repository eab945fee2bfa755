"""Send requests: what is valid passes, and of what is not every fault is named by its JSON Pointer."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.samples import DAY, body, modest, refused, request, told, uuid7_at
from tracepost import requests
from tracepost.problems import MOST_BYTES, MOST_FAULTS, Invalid
from tracepost.requests import SendRequest, decode, encode, stored

EVERYTHING: dict[str, Any] = {
    "sender": '"Müller, Shop" <shop@example.org>',
    "reply_to": ["help@example.org"],
    "to": ["Ann <ann@example.org>", '"Ärger" <bob@example.org>'],
    "cc": ["carl@example.org"],
    "bcc": ["dora@example.org"],
    "subject": "Grüße 🙂",
    "text": "a\r\n\tb",
    "html": "<p>a",
    "headers": {"In-Reply-To": "<1@example.org>", "X-Note": "Füße"},
    "reference": "T-1",
    "tags": ["a"],
    "metadata": {"k": "v"},
    "track_opens": "day",
    "send_at": "2026-01-01T00:00:00+01:00",
    "expires_after": 60,
    "on_unknown": "park",
    "list_unsubscribe": "https://example.org/u?a=1",
    "override_suppression": "asked for by telephone",
    "attachments": [
        {"filename": "Rechnung für März.pdf", "content_type": "application/pdf", "content": "JVBERi0xLjQKAP8="},
        {"filename": "logo.png", "content_type": "image/png", "content": "iVBORw0KGgo=", "content_id": "logo@shop"},
    ],
}

BREAK = "a\r\nBcc: x@example.net"

ENCODED_ATTACKS = {
    "CRLF, quoted-printable": "=?utf-8?q?a=0D=0ABcc:_x@example.net?=",
    "CRLF, base64": f"=?utf-8?b?{b64encode(BREAK.encode()).decode()}?=",
    "LF alone": "=?utf-8?q?a=0ABcc:_x@example.net?=",
    "CR alone": "=?utf-8?q?a=0DBcc:_x@example.net?=",
    "in capitals": "=?UTF-8?Q?a=0d=0aBcc:_x@example.net?=",
    "over two encoded words": "=?utf-8?q?a=0D?= =?utf-8?q?=0ABcc:_x@example.net?=",
    "after innocent text": "Re: hello =?utf-8?q?=0D=0A=0D=0Abody?=",
    "a second message": "=?utf-8?q?=0D=0A.=0D=0AMAIL_FROM:<x@example.net>?=",
    "UTF-7": "=?utf-7?q?a+AA0ACg-Bcc:_x@example.net?=",
    "UTF-16": f"=?utf-16?b?{b64encode(BREAK.encode('utf-16')).decode()}?=",
    "an escape of an escape": "=?unicode_escape?q?a=5Cr=5CnBcc:_x@example.net?=",
    "vertical tab": "=?utf-8?q?a=0BBcc:_x@example.net?=",
    "form feed": "=?utf-8?q?a=0CBcc:_x@example.net?=",
    "file separator": "=?utf-8?q?a=1CBcc:_x@example.net?=",
    "next line (U+0085)": "=?utf-8?q?a=C2=85Bcc:_x@example.net?=",
    "line separator (U+2028)": "=?utf-8?q?a=E2=80=A8Bcc:_x@example.net?=",
    "paragraph separator (U+2029)": "=?utf-8?q?a=E2=80=A9Bcc:_x@example.net?=",
    "U+0000": "=?utf-8?q?a=00b?=",
    "no such charset": "=?nonsense?q?a?=",
    "not of its charset": "=?utf-8?q?=FF?=",
}
RAW_ATTACKS = {
    "raw CRLF": BREAK,
    "raw LF": "a\nBcc: x@example.net",
    "raw CR": "a\rBcc: x@example.net",
    "raw CRLF between encoded words": "=?utf-8?q?a?=\r\n =?utf-8?q?b?=",
    "raw LF between encoded words": "=?utf-8?q?a?=\n=?utf-8?q?b?=",
    "a folded line": "a\r\n Bcc: x@example.net",
    "raw vertical tab": "a\x0bBcc: x@example.net",
    "raw form feed": "a\x0cBcc: x@example.net",
    "raw next line": "a\x85Bcc: x@example.net",
    "raw line separator": "a\u2028Bcc: x@example.net",
    "raw paragraph separator": "a\u2029Bcc: x@example.net",
    "raw U+0000": "a\0b",
    "raw escape": "a\x1b[31m",
    "raw delete": "a\x7fb",
    "at the very end": "a\n",
}
ATTACKS = ENCODED_ATTACKS | RAW_ATTACKS


def pointers(raw: bytes) -> set[str]:
    return set(told(refused(raw)))


def test_a_small_request_passes_and_has_the_stated_defaults() -> None:
    made = request()
    assert made.recipients[0].address == "ann@example.org"
    assert (made.track_opens, made.expires_after, made.on_unknown) == (None, 3 * DAY, "retry")


def test_a_request_with_everything_passes_and_numbers_its_recipients() -> None:
    made = request(**EVERYTHING)
    assert [each.address.partition("@")[0] for each in made.recipients] == ["ann", "bob", "carl", "dora"]
    assert made.recipients[1].name == "Ärger"
    assert made.headers == EVERYTHING["headers"]


def test_what_is_encoded_decodes_to_the_same() -> None:
    made = request(**EVERYTHING)
    assert decode(encode(made)) == made
    assert b'"from":' in encode(made)
    assert "on_unknown" not in json.loads(encode(request()))


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        request().subject = "another"  # type: ignore[misc]  # that is what is tested


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'{"a": 1', b'{"subject": "\xff"}', b"\xef\xbb\xbf{}", b"nonsense"]
)
def test_what_is_no_json_is_refused_as_such(raw: bytes) -> None:
    problem = refused(raw)
    assert (problem.code, problem.status) == ("invalid-request", 422)
    assert "is not JSON" in told(problem)[""]


@pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"a"', b"[" * 5000])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    assert pointers(raw) == {""}


def test_what_is_absent_is_named() -> None:
    said = told(refused(b"{}"))
    assert {"/message_id", "/from", ""} == said.keys()
    assert said["/from"] == "required, but absent"


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("subject", 5, "/subject"),
        ("text", ["a"], "/text"),
        ("html", {"a": 1}, "/html"),
        ("sender", None, "/from"),
        ("sender", ["shop@example.org"], "/from"),
        ("to", "ann@example.org", "/to"),
        ("to", [5], "/to/0"),
        ("cc", ["bob@example.org", {"address": "carl@example.org"}], "/cc/1"),
        ("reply_to", "help@example.org", "/reply_to"),
        ("headers", ["a"], "/headers"),
        ("headers", {"X-Note": 5}, "/headers/X-Note"),
        ("metadata", {"a/b~c": 5}, "/metadata/a~1b~0c"),
        ("metadata", {"a": {"nested": "b"}}, "/metadata/a"),
        ("tags", "a", "/tags"),
        ("tags", ["a"] * 21, "/tags"),
        ("tags", ["a" * 257], "/tags/0"),
        ("metadata", {str(n): "" for n in range(21)}, "/metadata"),
        ("reference", "a" * 257, "/reference"),
        ("subject", "a" * 999, "/subject"),
        ("track_opens", "always", "/track_opens"),
        ("on_unknown", "drop", "/on_unknown"),
        ("expires_after", 59, "/expires_after"),
        ("expires_after", 14 * DAY + 1, "/expires_after"),
        ("expires_after", "soon", "/expires_after"),
        ("expires_after", 90.5, "/expires_after"),
        ("send_at", "tomorrow", "/send_at"),
        ("send_at", "2026-01-01T00:00:00", "/send_at"),
        ("list_unsubscribe", "mailto:u@example.org", "/list_unsubscribe"),
        ("list_unsubscribe", "javascript:alert(1)", "/list_unsubscribe"),
        ("list_unsubscribe", "no URL", "/list_unsubscribe"),
        ("message_id", "x", "/message_id"),
        ("message_id", 5, "/message_id"),
        ("attachments", [{"content": "YQ"}], "/attachments/0/content"),
        ("attachments", [{"content": "Y!=="}], "/attachments/0/content"),
        ("attachments", [{"filename": "a"}], "/attachments/0/content"),
        ("attachments", [{"content": "", "size": 0}], "/attachments/0/size"),
        ("attachments", [{"content": "", "filename": ""}], "/attachments/0/filename"),
        ("attachments", [{"content": "", "filename": "a" * 256}], "/attachments/0/filename"),
        ("attachments", [{"content": "", "filename": "a\r\nBcc: b"}], "/attachments/0/filename"),
        ("attachments", [{"content": "", "content_type": "pdf"}], "/attachments/0/content_type"),
        ("attachments", [{"content": "", "content_type": "a/b\r\nBcc: b"}], "/attachments/0/content_type"),
        ("attachments", [{"content": "", "content_type": "text/csv; name=a"}], "/attachments/0/content_type"),
        ("attachments", [{"content": "", "content_type": "multipart/mixed"}], "/attachments/0/content_type"),
        ("attachments", [{"content": "", "content_type": "message/rfc822"}], "/attachments/0/content_type"),
        ("attachments", [{"content": "", "content_id": "a"}], "/attachments/0/content_id"),
        ("attachments", [{"content": "", "content_id": "<a>"}], "/attachments/0/content_id"),
        ("attachments", [{"content": ""}] * 51, "/attachments"),
        ("override_suppression", "", "/override_suppression"),
        ("override_suppression", True, "/override_suppression"),
        ("raw", "a", "/raw"),
        ("raw", "", "/raw"),
        ("subjekt", "a", "/subjekt"),
        ("from_", "shop@example.org", "/from_"),
        ("recipients", [], "/recipients"),
        ("a/b", 1, "/a~1b"),
    ],
)
def test_a_fault_is_named_by_its_pointer_and_no_other_is(field: str, value: object, pointer: str) -> None:
    raw = json.loads(body())
    raw["from" if field == "sender" else field] = value
    assert pointers(json.dumps(raw).encode()) == {pointer}


def test_faults_of_several_fields_are_named_together() -> None:
    raw = body(subject=5, to=[], text=None, cc=["ann"], subjekt="a", expires_after=1)
    said = told(refused(raw))
    assert {"/subject", "/cc/0", "/subjekt", "/expires_after", ""} == said.keys()
    assert "neither text nor html" in said[""]


def test_the_words_tell_what_to_do() -> None:
    said = told(refused(body(subjekt="a", message_id=str(uuid4()), sender="nobody")))
    assert said["/subjekt"] == "unknown field: remove it, or check its spelling"
    assert "make one anew" in said["/message_id"]
    assert "@-sign" in said["/from"]


def test_the_input_is_not_repeated() -> None:
    problem = refused(body(subject="very secret\n", to=["ann@example.org\r\n"], text="secret\0"))
    assert b"secret" not in problem.document()
    assert b"ann" not in problem.document()


# message_id


def test_an_id_of_another_version_is_refused() -> None:
    v4 = body(message_id=str(uuid4()))
    assert "UUIDv7" in told(refused(v4))["/message_id"]
    nil = body(message_id="00000000-0000-0000-0000-000000000000")
    assert "UUIDv7" in told(refused(nil))["/message_id"]


@pytest.mark.parametrize("days", [-6.99, -1, 0, 0.99])
def test_an_id_of_these_days_passes(days: float) -> None:
    message_id = uuid7_at(time.time() + days * DAY)
    assert request(message_id=str(message_id)).message_id == message_id


@pytest.mark.parametrize("days", [-400, -7.01, 1.01, 400])
def test_an_id_that_is_too_old_or_too_far_ahead_is_refused(days: float) -> None:
    raw = body(message_id=str(uuid7_at(time.time() + days * DAY)))
    assert told(refused(raw)).keys() == {"/message_id"}
    assert "7 days ago" in told(refused(raw))["/message_id"]


def test_a_stored_request_may_have_aged() -> None:
    raw = body(message_id=str(uuid7_at(time.time() - 30 * DAY)))
    assert stored(raw).subject == "Your order"


@pytest.mark.parametrize(("days", "passes"), [(-400, True), (0, True), (29.9, True), (30.1, False), (9999, False)])
def test_a_request_is_sent_at_most_30_days_ahead(days: float, passes: bool) -> None:
    raw = body(send_at=(datetime.now(UTC) + timedelta(days=days)).isoformat())
    if passes:
        assert decode(raw).send_at
    else:
        assert told(refused(raw)).keys() == {"/send_at"}


@pytest.mark.parametrize("time_", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_at_the_end_of_the_calendar_does_no_harm(time_: str) -> None:
    try:
        decode(body(send_at=time_))
    except Invalid as error:
        assert told(error.problem).keys() == {"/send_at"}  # noqa: PT017 - both are fine, another error is not


# recipients


def people(count: int) -> list[str]:
    return [f"person{number}@example.org" for number in range(count)]


@pytest.mark.parametrize("lists", [{"to": people(50)}, {"to": None, "bcc": people(1)}, {"to": people(3), "cc": []}])
def test_1_to_50_recipients_pass(lists: dict[str, Any]) -> None:
    assert 1 <= len(request(**lists).recipients) <= 50


@pytest.mark.parametrize(
    "lists",
    [{"to": people(51)}, {"to": []}, {"to": None}, {"to": people(20), "cc": [f"c{n}@example.org" for n in range(31)]}],
)
def test_no_recipient_or_more_than_50_are_refused(lists: dict[str, Any]) -> None:
    assert "give 1 to 50" in told(refused(body(**lists)))[""]


@pytest.mark.parametrize(
    "lists",
    [
        {"to": ["ann@example.org", "ann@example.org"]},
        {"to": ["ann@example.org"], "bcc": ["Ann <ANN@Example.ORG>"]},
        {"to": ["ann@example.org"], "cc": ['"ann"@example.org']},
        {"to": ["ann@bücher.example"], "cc": ["ann@xn--bcher-kva.example"]},
    ],
)
def test_an_address_is_named_once_however_it_is_spelt(lists: dict[str, Any]) -> None:
    assert "twice" in told(refused(body(**lists)))[""]


def test_addresses_that_only_look_alike_pass() -> None:
    assert len(request(to=["ann@example.org", "ann+a@example.org", "ann@example.com", "a.nn@example.org"]).to) == 4


def test_domains_with_a_sharp_s_are_no_others() -> None:
    assert len(request(to=["ann@straße.example", "ann@strasse.example"]).to) == 2


# injection


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("field", ["subject", "headers"])
def test_a_line_break_in_a_header_is_refused_however_it_is_hidden(field: str, attack: str) -> None:
    raw = body(**{field: attack if field == "subject" else {"X-Note": attack}})
    assert pointers(raw) == {"/subject" if field == "subject" else "/headers/X-Note"}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("field", ["from", "reply_to", "to", "cc", "bcc"])
def test_a_line_break_in_a_display_name_is_refused_however_it_is_hidden(field: str, attack: str) -> None:
    raw = json.loads(body())
    mailbox = f'"{attack}" <bob@example.org>'
    raw[field] = mailbox if field == "from" else [mailbox]
    assert pointers(json.dumps(raw).encode()) == {"/from" if field == "from" else f"/{field}/0"}


@pytest.mark.parametrize(
    "mailbox",
    [
        "ann@example.org\r\nBcc: x@example.net",
        "ann@example.org\n",
        "ann@example.org>\r\nBcc: <x@example.net",
        "Ann\r\n <ann@example.org>",
        '"an\\\r\nn"@example.org',
        '"an\0n"@example.org',
        "=?utf-8?q?a=0D=0A?= <ann@example.org>",
        "=?utf-8?q?a=0D=0A?=@example.org",
        "alice@example.org)bob@example.net",
        "ann@example.org, bob@example.org",
        "Ann <ann@example.org>, Bob <bob@example.org>",
        "",
    ],
)
def test_what_is_not_one_mailbox_is_refused(mailbox: str) -> None:
    assert pointers(body(to=[mailbox])) == {"/to/0"}


def test_an_encoded_word_whose_charset_is_not_ascii_is_refused() -> None:
    assert pointers(body(subject="=?ü?q?a?=")) == {"/subject"}


@modest
@given(
    st.lists(
        st.sampled_from(
            ["=?", "?=", "?q?", "?b?", "utf-8", "iso-2022-jp", "hz", "=0A", "=1B$B", "YQ==", "=", "?", " "]
        ),
        max_size=10,
    ).map("".join)
)
@example("=?utf-8?b?a?=")
@example("=?utf-8?b?a\xad?=")
def test_broken_encoded_words_pass_or_are_refused_and_nothing_else(subject: str) -> None:
    try:
        assert decode(body(subject=subject)).subject == subject
    except Invalid as error:
        assert told(error.problem).keys() == {"/subject"}  # noqa: PT017 - both are fine, another error is not


@pytest.mark.parametrize("name", ["Subject", "bcc", "MESSAGE-ID", "DKIM-Signature", "Received", "Tracepost-Token"])
def test_our_own_headers_are_refused(name: str) -> None:
    problem = refused(body(headers={"X-Note": "a", name: "x"}))
    (fault,) = problem.errors
    assert fault.pointer.startswith("/headers")
    assert name in fault.detail


@pytest.mark.parametrize("name", ["", "X Note", "X-Note:", "X-Nöte", "X\r\nBcc", "X\tNote", "a" * 77, "\0"])
def test_what_is_no_header_name_is_refused(name: str) -> None:
    (fault,) = refused(body(headers={name: "x"})).errors
    assert fault.pointer.startswith("/headers")


@pytest.mark.parametrize("name", ["X-Note\n", "Bcc\n"])
def test_a_header_name_that_ends_in_a_line_feed_is_refused(name: str) -> None:
    refused(body(headers={name: "x"}))


def test_every_bad_header_name_is_named() -> None:
    assert pointers(body(headers={"Bcc": "x", "Received": "y"})) == {"/headers/Bcc", "/headers/Received"}


# what PostgreSQL does not take


@pytest.mark.parametrize("field", ["text", "html", "subject", "reference"])
def test_u0000_is_refused(field: str) -> None:
    assert pointers(body(**{field: "a\0b"})) == {f"/{field}"}


def test_u0000_is_refused_in_tags_and_metadata() -> None:
    said = pointers(body(tags=["a", "\0"], metadata={"k": "\0"}))
    assert said == {"/tags/1", "/metadata/k"}


def test_the_pointer_of_a_bad_key_is_that_of_its_member() -> None:
    assert pointers(body(metadata={"k\0": "v"})) == {"/metadata/k\0"}


def test_a_member_may_be_called_what_pydantic_calls_a_key() -> None:
    assert pointers(body(metadata={"[key]": 5})) == {"/metadata/[key]"}


@pytest.mark.parametrize("escape", [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800A"])
@pytest.mark.parametrize("field", ["subject", "text", "reference"])
def test_a_lone_surrogate_is_refused(field: str, escape: str) -> None:
    raw = body(**{field: "SURROGATE"}).replace(b"SURROGATE", escape.encode())
    assert refused(raw).code == "invalid-request"


def test_a_request_made_in_python_refuses_a_lone_surrogate() -> None:
    with pytest.raises(ValidationError, match="text"):
        SendRequest.model_validate(json.loads(body()) | {"text": "\ud800"})


# every fault, but a short document


def test_no_more_than_50_faults_are_named_and_the_rest_is_counted() -> None:
    raw = json.loads(body()) | {f"field{number}": 1 for number in range(70)}
    problem = refused(json.dumps(raw).encode())
    assert (len(problem.errors), problem.more_errors) == (MOST_FAULTS, 20)
    document = json.loads(problem.document())
    assert len(document["errors"]) + document["more_errors"] == 70


@pytest.mark.parametrize("length", [10, 300, 4000, 9000])
def test_the_document_stays_short_and_counts_what_it_leaves_out(length: int) -> None:
    raw = json.loads(body()) | {f"{number:03}{'x' * length}": 1 for number in range(70)}
    document = refused(json.dumps(raw).encode()).document()
    assert len(document) <= MOST_BYTES
    told_ = json.loads(document)
    assert len(told_.get("errors", ())) + told_["more_errors"] == 70
    assert told_["code"] == "invalid-request"


def test_the_faults_of_the_whole_count_too() -> None:
    problem = refused(json.dumps({f"field{number}": 1 for number in range(70)}).encode())
    assert len(problem.errors) <= MOST_FAULTS


def test_both_faults_of_the_whole_are_named() -> None:
    problem = refused(body(text=None, to=None))
    assert len(problem.errors) == 2


def test_a_string_in_place_of_a_list_is_one_fault() -> None:
    assert pointers(body(to="person@example.org" * 4)) == {"/to"}


def test_a_number_in_place_of_a_list_hides_no_other_fault() -> None:
    assert pointers(body(to=5, text=None)) == {"/to", ""}


def test_a_request_that_is_too_large_is_refused_unread() -> None:
    problem = refused(b" " * (requests.MOST_BYTES + 1))
    assert (problem.code, problem.status) == ("request-too-large", 413)
    assert decode(b" " * (requests.MOST_BYTES - len(body())) + body()).text


def test_one_click_unsubscription_needs_https() -> None:
    assert pointers(body(list_unsubscribe="http://example.org/u")) == {"/list_unsubscribe"}


def test_a_mailbox_that_is_longer_than_a_line_is_refused() -> None:
    assert pointers(body(to=[f'"{"a" * 1200}" <ann@example.org>'])) == {"/to/0"}
