"""A whole mail goes as its client wrote it, with our headers and without its Bcc; SMTPUTF8 only where it is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.compose import Links, compose, prepare
from sender.copies import feedback_id
from sender.fields import HeadersAltered
from tests.unit.mails import ALWAYS, TRACKED, UNTRACKED, bodies, canonical, header_names, read
from tests.unit.samples import NOON, modest, request
from tests.unit.test_whole_mails import SMALL, raw_request


def test_our_headers_are_added_and_all_else_stays() -> None:
    composed = compose(raw_request(SMALL), TRACKED, NOON)
    assert composed == (
        b"Date: Wed, 04 Mar 2026 12:30:15 +0000\r\nMessage-ID: <1@bounces.example>\r\nTracepost-Token: b+token\r\n"
        + SMALL
    )


def test_a_date_of_its_own_is_kept() -> None:
    composed = compose(raw_request(b"Date: Mon, 02 Mar 2026 10:00:00 +0100\r\n" + SMALL), UNTRACKED, NOON)
    assert read(composed).get_all("date") == ["Mon, 02 Mar 2026 10:00:00 +0100"]


@pytest.mark.parametrize("bcc", [b"Bcc: dora@example.org\r\n", b"bcc: ann@x.org,\r\n dora@example.org\r\n"])
def test_whom_nobody_is_to_know_of_stands_nowhere(bcc: bytes) -> None:
    composed = compose(raw_request(bcc + SMALL), UNTRACKED, NOON)
    assert b"dora" not in composed
    assert sorted(header_names(composed)) == sorted(ALWAYS)


def test_one_click_unsubscription_is_added() -> None:
    composed = read(compose(raw_request(SMALL, list_unsubscribe="https://example.org/u"), UNTRACKED, NOON))
    assert composed["list-unsubscribe"] == "<https://example.org/u>"
    assert composed["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"


@modest
@given(bodies, st.sampled_from(["X-Note: a", "X-Note:\r\n a\r\n\tb", "References: <1@x>\r\n <2@x>"]))
def test_a_body_is_not_touched(text: str, field: str) -> None:
    raw = f"{field}\r\n".encode() + SMALL.removesuffix(b"Hello\r\n") + text.encode()
    composed = compose(raw_request(raw), UNTRACKED, NOON)
    assert composed.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") == (canonical(text) or "").encode().removesuffix(
        b"\r\n"
    )


# SMTPUTF8


@pytest.mark.parametrize("field", ["sender", "to", "cc", "reply_to"])
def test_an_address_beyond_ascii_needs_smtputf8(field: str) -> None:
    address = "jörg@bücher.example"
    prepared = prepare(request(**{field: address if field == "sender" else [address]}), NOON)
    assert prepared.utf8
    assert "jörg@xn--bcher-kva.example".encode() in prepared.copy(UNTRACKED)


@pytest.mark.parametrize(
    "fields",
    [
        {"to": ["Jörg <jorg@bücher.example>"], "subject": "Grüße", "html": "ä"},
        {"bcc": ["jörg@example.org"]},
        {"attachments": [{"content": "", "filename": "ä"}]},
    ],
)
def test_nothing_else_does(fields: dict[str, object]) -> None:
    prepared = prepare(request(**fields), NOON)
    assert not prepared.utf8
    assert prepared.copy(UNTRACKED).isascii()


def test_beside_an_address_beyond_ascii_nothing_breaks_out() -> None:
    prepared = prepare(request(to=["jörg@example.org"]), NOON)
    for end in ("\r\nBcc: x@example.net", "\x85", "\u2028", "\n"):
        with pytest.raises(HeadersAltered):
            prepared.copy(Links("<1@x>", f"b+token{end}", None))


# Feedback-ID


def test_complaints_are_counted_by_tag_app_and_sender() -> None:
    assert (
        feedback_id(request(tags=["spring: sale", "b"]), "help-desk", "tracepost") == "spring-sale:help-desk:tracepost"
    )
    assert feedback_id(request(), "shop\r\nBcc", "tracepost") == "shop-Bcc:tracepost"
    assert feedback_id(request(tags=["a"]), "shop", "") is None


def test_feedback_id_stands_in_the_header() -> None:
    for made in (request(), raw_request(SMALL)):
        assert read(prepare(made, NOON, "shop:tracepost").copy(UNTRACKED))["feedback-id"] == "shop:tracepost"
