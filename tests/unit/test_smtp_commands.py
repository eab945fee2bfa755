"""The commands of a mail transaction: extensions only where they are offered, and never a command more."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.commands import Envelope, Refused, mail, rcpt, xtext

PLAIN = Envelope("b+token@bounces.example", "ann@example.org", 1000)
ALL = {"SIZE": "2000", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "PIPELINING": ""}
FULL = replace(
    PLAIN, eight_bit=True, envid="a=b c+d", ret="HDRS", notify=("FAILURE", "DELAY"), orcpt="ann+tag@example.org"
)


def test_without_extensions_the_commands_are_bare() -> None:
    assert mail(FULL, {}) == b"MAIL FROM:<b+token@bounces.example>\r\n"
    assert rcpt(FULL, {}) == b"RCPT TO:<ann@example.org>\r\n"


def test_what_is_offered_is_used() -> None:
    told = b"MAIL FROM:<b+token@bounces.example> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a+3Db+20c+2Bd\r\n"
    assert mail(FULL, ALL) == told
    assert rcpt(FULL, ALL) == b"RCPT TO:<ann@example.org> NOTIFY=FAILURE,DELAY ORCPT=rfc822;ann+2Btag@example.org\r\n"


def test_what_is_not_needed_is_left_out() -> None:
    assert mail(PLAIN, {"8BITMIME": "", "SMTPUTF8": "", "DSN": ""}) == mail(PLAIN, {})
    assert rcpt(PLAIN, ALL) == rcpt(PLAIN, {})


def test_a_null_sender() -> None:
    assert mail(replace(PLAIN, return_path=""), {}) == b"MAIL FROM:<>\r\n"


def test_an_original_recipient_beyond_ascii() -> None:
    assert rcpt(replace(PLAIN, orcpt="jörg+a@example.org"), ALL).endswith(
        b"ORCPT=utf-8;j\\x{F6}rg\\x{2B}a@example.org\r\n"
    )


@pytest.mark.parametrize("envelope", [replace(PLAIN, utf8=True), replace(PLAIN, recipient="jörg@example.org")])
def test_smtputf8_is_used_or_missed(envelope: Envelope) -> None:
    assert mail(envelope, ALL) == b"MAIL FROM:<b+token@bounces.example> SIZE=1000 SMTPUTF8\r\n"
    assert rcpt(envelope, ALL) == f"RCPT TO:<{envelope.recipient}>\r\n".encode()
    with pytest.raises(Refused, match="server does not offer") as refused:
        mail(envelope, {"8BITMIME": ""})
    assert (refused.value.stage, refused.value.code) == ("mail", 553)


@pytest.mark.parametrize("limit", ["", "0", "1000", "1001", "unlimited", "-1", "9" * 5000, "٩"])
def test_a_limit_that_is_none_or_not_reached(limit: str) -> None:
    assert b" SIZE=1000\r\n" in mail(PLAIN, {"SIZE": limit})


def test_a_message_over_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(Refused, match=r"1000 bytes.* at most 999") as refused:
        mail(PLAIN, {"SIZE": "999"})
    assert (refused.value.stage, refused.value.code) == ("mail", 552)


@pytest.mark.parametrize(
    "address", ['"a b"@example.org', '"a>, <b"@example.org', '"a\\"b"@example.org', "a@[IPv6:::1]"]
)
def test_odd_addresses_are_written_as_they_are(address: str) -> None:
    assert rcpt(replace(PLAIN, recipient=address), {}) == f"RCPT TO:<{address}>\r\n".encode()


@given(st.text(max_size=6), st.sampled_from(["\r", "\n", "\0", "\x85", "\ud800"]), st.text(max_size=6), st.booleans())
def test_no_address_adds_a_command(before: str, evil: str, after: str, quoted: bool) -> None:
    local = f'"{before}{evil}{after}"' if quoted else before + evil + after
    envelope = Envelope(f"{local}@example.org", f"{local}@example.org", 1, utf8=True)
    for write, stage in ((mail, "mail"), (rcpt, "rcpt")):
        with pytest.raises(Refused) as refused:
            write(envelope, ALL)
        assert (refused.value.stage, refused.value.code) == (stage, 553)


@given(st.text())
def test_any_recipient_makes_one_line_or_none(address: str) -> None:
    try:
        line = rcpt(replace(PLAIN, recipient=address), {})
    except Refused:
        return
    assert line.count(b"\r") == line.count(b"\n") == 1


@pytest.mark.parametrize("address", ["a> SIZE=1<b@example.org", "a@example.org> NOTIFY=NEVER", '"a"> x <"@example.org'])
def test_no_address_ends_the_path(address: str) -> None:
    with pytest.raises(Refused):
        rcpt(replace(PLAIN, recipient=address), {})


@given(st.text(st.characters(codec="utf-8")))
def test_xtext_can_be_read_back(text: str) -> None:
    written = xtext(text)
    assert written.isascii()
    assert not any(character <= " " or character in "=\x7f" for character in written)
    assert unquote_to_bytes(written.replace("%", "%25").replace("+", "%")) == text.encode()
