"""A signature holds for what was sent, whatever that is, and for nothing that was altered or added."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.compose import compose, prepare
from sender.dkim import Unsigned, relaxed, signed
from tests.signatures import BOTH, by_dkimpy
from tests.unit.mails import TRACKED, UNTRACKED, accepted, bodies, lines, odd, odd_mailboxes, read
from tests.unit.samples import NOON, modest, request
from tests.unit.test_requests import EVERYTHING
from tests.unit.test_whole_mails import raw_request

SIGNED_AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def sign(mail: bytes) -> bytes:
    return signed(Unsigned(mail, BOTH, SIGNED_AT))


WHOLE = sign(prepare(request(**EVERYTHING), NOON, "shop:tracepost").copy(TRACKED))


@modest
@given(subject=lines | odd, to=odd_mailboxes(), text=bodies, html=bodies | st.none(), note=lines | odd)
def test_whatever_is_composed_verifies(subject: str, to: str, text: str, html: str | None, note: str) -> None:
    made = accepted(subject=subject, to=[to], text=text, html=html, headers={"X-Note": note, "References": note})
    assert by_dkimpy(sign(compose(made, TRACKED, NOON)), BOTH) == [True, True]


@modest
@given(bodies, st.sampled_from(["X-Note:  a \t b ", "Subject:\r\n a\r\n\t b", "In-Reply-To: <1@x>"]))
def test_whatever_a_client_wrote_verifies(text: str, field: str) -> None:
    raw = f"From: shop@example.org\r\n{field}\r\n\r\n{text}".encode()
    assert by_dkimpy(sign(compose(raw_request(raw), UNTRACKED, NOON)), BOTH) == [True, True]


SIGNED = ["From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "MIME-Version"]
SIGNED += ["Content-Type", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID"]


@pytest.mark.parametrize("name", SIGNED)
def test_a_field_that_is_altered_or_removed_breaks_the_signatures(name: str) -> None:
    for new in (rb"\1x\2", b""):
        altered = re.sub(rf"(?ms)^({name}: .*?)(\r\n)(?=\S|\r\n)".encode(), new, WHOLE, count=1)
        assert altered != WHOLE
        assert by_dkimpy(altered, BOTH) == [False, False]


@pytest.mark.parametrize("name", [*SIGNED, "References", "Content-Transfer-Encoding"])
def test_a_field_that_is_added_breaks_the_signatures(name: str) -> None:
    added = f"{name}: x\r\n".encode()
    head, separator, body = WHOLE.partition(b"\r\n\r\n")
    for altered in (added + WHOLE, head + b"\r\n" + added[:-2] + separator + body):
        assert by_dkimpy(altered, BOTH) == [False, False]


def test_a_body_that_is_altered_breaks_the_signatures() -> None:
    for altered in (WHOLE + b"x\r\n", WHOLE.replace(b"\r\n\r\n--", b"\r\n\r\nx\r\n--", 1)):
        assert by_dkimpy(altered, BOTH) == [False, False]


def test_what_servers_do_to_white_space_does_no_harm() -> None:
    relayed = WHOLE.replace(b"Subject: ", b"Subject:\r\n\t ").replace(b"Content-Type:", b"content-type:", 1) + b"\r\n"
    assert by_dkimpy(b"Received: from x\r\n" + relayed, BOTH) == [True, True]


def test_a_signature_bounds_no_length_and_says_when_it_was_made() -> None:
    for value in read(WHOLE).get_all("dkim-signature", []):
        tags = dict(tag.strip().split("=", 1) for tag in value.split(";"))
        assert "l" not in tags
        assert (tags["v"], tags["c"], tags["d"], tags["t"]) == ("1", "relaxed/relaxed", "example.org", "1772625600")
        assert all(len(line) <= 78 for line in WHOLE.partition(b"From:")[0].split(b"\r\n"))


def test_the_signatures_stand_before_an_untouched_message() -> None:
    mail = compose(request(), UNTRACKED, NOON)
    assert sign(mail).endswith(mail)
    assert sign(mail) == sign(mail)


def test_of_fields_that_occur_twice_both_are_signed() -> None:
    mail = b"References: <1@x>\r\nFrom: a@example.org\r\nReferences: <2@x>\r\n\r\n"
    assert by_dkimpy(sign(mail), BOTH) == [True, True]
    assert by_dkimpy(sign(mail).replace(b"<1@x>", b"<3@x>"), BOTH) == [False, False]


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376, 3.4.5
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" \t\r\n \r\n", b""),
        (b"a", b"a\r\n"),
        (b"a \t", b"a\r\n"),
        (b"\ta\t\tb  c\t\r\n", b" a b c\r\n"),
        (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_the_canonical_body(body: bytes, canonical: bytes) -> None:
    assert relaxed(body) == canonical
