"""What becomes of a mail that was read: whoever cannot prove anything tells nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from bounce_ingest.delivered_to import recipients
from bounce_ingest.parsers.values import Unparsed
from bounce_ingest.placing import place, subject
from bounce_ingest.quarantine.contained import addresses, keys
from bounce_ingest.quarantine.values import Held
from bounce_ingest.report import understand
from tests.bouncing import ORIGINAL, RECIPIENT, bounce, complaint
from tests.conftest import KEYRING
from tests.unit.samples import modest
from tests.unit.test_imports import sources
from tracepost import tokens
from tracepost.events import AnyEvent

ID = UUID("018f0000-0000-7000-8000-000000000001")
TOKEN = KEYRING.return_path(ID, 0, RECIPIENT)
CLAIM = KEYRING.verify("return-path", TOKEN)
HEADER = b"Tracepost-Token: %s\r\n"
WITH_TOKEN = HEADER % tokens.to_local_part(TOKEN).encode() + ORIGINAL
REPORTS = Path(__file__).parents[1] / "data" / "reports"


def placed(mail: bytes, claim: tokens.Claim | None = None) -> Sequence[AnyEvent] | Held:
    return place(understand(mail), mail, "smtp", claim, KEYRING)


def held(mail: bytes, claim: tokens.Claim | None = None) -> tuple[str, str]:
    found = placed(mail, claim)
    assert isinstance(found, Held)
    assert (found.raw, found.way, found.claim) == (mail, "smtp", claim)
    return found.reason, found.detail


def test_a_proof_in_the_envelope_or_in_the_returned_message_is_needed() -> None:
    for mail in (bounce(), complaint()):
        assert held(mail) == ("unplaced", "no_token")
        assert not isinstance(placed(mail, CLAIM), Held)
    for mail in (bounce(original=WITH_TOKEN), complaint(original=WITH_TOKEN)):
        found = placed(mail)
        assert not isinstance(found, Held)
        assert [each.subject for each in found] == [f"{ID}/0"]


@pytest.mark.parametrize(
    "token",
    [
        KEYRING.pixel(ID, 0),
        tokens.Keyring({1: bytes(32)}).return_path(ID, 0, RECIPIENT),
        TOKEN[:-1] + bytes([TOKEN[-1] ^ 1]),
    ],
    ids=["of another purpose", "of others", "altered"],
)
def test_a_token_that_is_not_genuine_tells_nothing(token: bytes) -> None:
    original = HEADER % tokens.to_local_part(token).encode() + ORIGINAL
    assert held(bounce(original=original)) == ("untrusted", "token_not_genuine")


def test_what_is_no_report_is_held_and_an_automatic_reply_is_not() -> None:
    assert held(b"Subject: Hello\r\n\r\nHow are you?\r\n", CLAIM) == ("not_understood", "no_report")
    assert placed((REPORTS / "auto-reply.eml").read_bytes(), CLAIM) == []
    broken = place(Unparsed("timed_out"), b"x", "pipe", CLAIM, KEYRING)
    assert isinstance(broken, Held)
    assert (broken.reason, broken.detail, broken.about) == ("parser_failed", "timed_out", f"{ID}/0")


def test_the_same_report_is_held_once_for_each_delivery() -> None:
    other = KEYRING.verify("return-path", KEYRING.return_path(uuid7(), 0, RECIPIENT))
    ids = {Held("unplaced", way, b"x", claim=claim).id for way in ("smtp", "pipe") for claim in (None, CLAIM, other)}
    assert len(ids) == 3


def test_a_subject_is_read_as_people_do() -> None:
    assert subject(b"To: x\r\nSUBJECT: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n an alle\r\n\r\nSubject: no") == "Grüße an alle"
    assert subject(b"To: x\n\nSubject: no") == ""
    assert subject(b"Subject: =?no-such?b?!!?= \xff\r\n\r\n") == "=?no-such?b?!!?= \ufffd"


@modest
@given(st.binary(max_size=300))
def test_anything_has_a_subject_addresses_and_recipients(rest: bytes) -> None:
    for mail in (rest, b"Subject: =?utf-8?b?" + rest, b"Delivered-To: " + rest):
        subject(mail)
        list(recipients(mail))
        keys(Held("unplaced", "smtp", mail), KEYRING)


def test_addresses_are_found_however_they_are_encoded() -> None:
    text = b"Final-Recipient: rfc822; Anna@Example.test\r\n<bob@example.test>: no. carol=40example.test=\r\n\r\n"
    base64 = b"VGhpcyBpcyBhIGxvbmcgdGV4dCBpbiB3aGljaCBkYXZlQGV4YW1wbGUudGVzdCBzdGFu\r\nZHMu\r\n"
    found = addresses(text + base64)
    assert found >= {"anna@example.test", "bob@example.test", "carol@example.test", "dave@example.test"}
    assert KEYRING.address_key("anna@example.test") in keys(Held("unplaced", "smtp", text), KEYRING)
    assert f"{ID}/0" in keys(Held("unplaced", "smtp", b"", claim=CLAIM), KEYRING)


def test_no_mail_is_ever_answered_with_a_mail() -> None:
    sent = [name for name, text in sources().items() if name.startswith("bounce_ingest") and "smtplib" in text]
    assert sent == []


def test_recipients_stand_on_top_alone() -> None:
    mail = b"Delivered-To: <b@x.test>\r\nX-Original-To: a@x.test\r\n\r\nDelivered-To: c@x.test\r\n"
    assert list(recipients(mail)) == ["b@x.test", "a@x.test"]
