"""A composed mail says what the request says, to every parser."""

from __future__ import annotations

import re
from datetime import timedelta, timezone
from email import message_from_bytes
from email.header import decode_header, make_header

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sender.compose import TOKEN_HEADER, Links, compose, prepare
from tests.unit.mails import (
    TRACKED,
    UNTRACKED,
    accepted,
    bodies,
    canonical,
    content,
    ended,
    lines,
    mailboxes,
    meant,
    odd,
    odd_mailboxes,
    people,
    read,
)
from tests.unit.samples import NOON, modest, request
from tests.unit.test_requests import EVERYTHING


@modest
@given(subject=lines, sender=mailboxes(), to=st.lists(mailboxes(), min_size=1, max_size=4), note=lines)
@example(subject="Ä" * 300, sender="ann@example.org", to=["bob@example.org"], note="ß" * 900)
@example(subject="a, b; c: d", sender='"a, b" <ann@example.org>', to=['"<x@y.org>" <bob@example.org>'], note="a: b")
@example(subject="", sender='"Ann \\"Q\\" \\\\" <ann@example.org>', to=["bob@example.org"], note="")
def test_the_headers_read_back(subject: str, sender: str, to: list[str], note: str) -> None:
    made = accepted(subject=subject, sender=sender, to=to, headers={"X-Note": note})
    mail = read(compose(made, UNTRACKED, NOON))
    assert (mail["subject"] or "") == subject
    assert mail["x-note"] == note
    assert people(mail, "from") == meant([sender])
    assert people(mail, "to") == meant(to)


@modest
@given(bodies | st.none(), bodies | st.none())
@example("a\r\nb\rc\n\n", "<p>\n.\n..\r\n")
@example("", "")
@example("--boundary\r\n\r\n--\r\n", "From me\nFrom you")
def test_text_and_html_read_back(text: str | None, html: str | None) -> None:
    assume(text is not None or html is not None)
    mail = read(compose(accepted(text=text, html=html), UNTRACKED, NOON))
    assert ended(content(mail, "plain"), mail) == ended(canonical(text), mail)
    assert ended(content(mail, "html"), mail) == ended(canonical(html), mail)
    assert not mail.defects
    if text is not None and html is not None:
        assert mail.get_content_type() == "multipart/alternative"
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_everything_at_once_reads_back() -> None:
    made = request(**EVERYTHING)
    mail = read(compose(made, TRACKED, NOON))
    assert people(mail, "from") == [("Müller, Shop", "shop@example.org")]
    assert people(mail, "reply-to") == [("", "help@example.org")]
    assert people(mail, "to") == [("Ann", "ann@example.org"), ("Ärger", "bob@example.org")]
    assert people(mail, "cc") == [("", "carl@example.org")]
    assert mail["subject"] == "Grüße 🙂"
    assert mail["date"].datetime == NOON.replace(microsecond=0)
    assert mail["message-id"] == "<1@bounces.example>"
    assert mail[TOKEN_HEADER] == "b+token"
    assert mail["x-note"] == "Füße"
    assert mail["list-unsubscribe"] == "<https://example.org/u?a=1>"
    assert mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert content(mail, "plain") == "a\r\n\tb"


@pytest.mark.parametrize("field", ["sender", "to", "cc", "reply_to"])
def test_a_domain_beyond_ascii_is_written_in_ascii(field: str) -> None:
    address = "ann@bücher.example"
    mail = compose(request(**{field: address if field == "sender" else [address]}), UNTRACKED, NOON)
    assert b"ann@xn--bcher-kva.example" in mail


@pytest.mark.parametrize("text", ["=?utf-8?q?a_b?=", "what =?utf-8?b?YQ==?= means"])
def test_what_looks_like_an_encoded_word_is_shown_as_it_was_written(text: str) -> None:
    mail = read(compose(request(subject=text, sender=f'"{text}" <shop@example.org>'), UNTRACKED, NOON))
    assert mail["subject"] == text
    assert people(mail, "from") == [(text, "shop@example.org")]


@modest
@given(subject=odd, sender=odd_mailboxes(), to=st.lists(odd_mailboxes(), min_size=1, max_size=4), note=odd)
@example(subject=" a ", sender="ann@example.org", to=["bob@example.org"], note="a" + " " * 2000 + "b")
@example(subject=" ", sender='"  " <ann@example.org>', to=['" a  b " <bob@example.org>'], note="  \u00a0")
@example(subject="\U0001f642" * 300, sender='"=?" <ann@example.org>', to=["bob@example.org"], note="=?=?")
def test_white_space_and_look_alikes_read_back(subject: str, sender: str, to: list[str], note: str) -> None:
    composed = compose(accepted(subject=subject, sender=sender, to=to, headers={"X-Note": note}), UNTRACKED, NOON)
    assert (old(composed, "subject"), old(composed, "x-note")) == (subject, note)
    assert people(read(composed), "from") == meant([sender])
    assert people(read(composed), "to") == meant(to)
    if "=?" not in subject + note:  # of these, policy.default of Python 3.11 makes words
        assert (read(composed)["subject"] or "", read(composed)["x-note"]) == (subject, note)


def old(mail: bytes, name: str) -> str:
    """The header as RFC 2047 reads it, by compat32."""
    value = re.sub(r"\r?\n", "", message_from_bytes(mail)[name] or "")
    return str(make_header(decode_header(value)))


def test_the_date_reads_back_in_its_zone() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=-3, minutes=-30)))
    mail = read(compose(request(), UNTRACKED, there))
    assert mail["date"] == "Wed, 04 Mar 2026 09:00:15 -0330"


# copies of one message


@modest
@given(bodies, bodies | st.none(), st.booleans())
def test_copies_that_share_are_the_same_as_those_made_alone(html: str, text: str | None, tracked: bool) -> None:
    made = accepted(html=html, text=text)
    prepared = prepare(made, NOON)
    for number in range(3):
        pixel = f"https://pixel.example/{'o' * number}/token.gif" if tracked else None
        own = Links(f"<{number}@bounces.example>", f"b+{number}", pixel)
        assert prepared.copy(own) == compose(made, own, NOON)


def test_copies_differ_in_token_and_pixel_alone() -> None:
    prepared = prepare(request(**EVERYTHING), NOON)
    one, other = (prepared.copy(Links("<1@x>", f"b+{n}", f"https://pixel.example/{n}.gif")) for n in "12")
    differing = [pair for pair in zip(one.split(b"\r\n"), other.split(b"\r\n"), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 2
    assert differing[0] == (b"Tracepost-Token: b+1", b"Tracepost-Token: b+2")
