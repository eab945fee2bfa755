"""A composed mail travels: short lines of ASCII that end in CRLF, the same at every attempt."""

from __future__ import annotations

import re
from base64 import b64decode
from quopri import decodestring
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sender.compose import Links, compose
from tests.unit.mails import (
    TRACKED,
    UNTRACKED,
    accepted,
    bodies,
    lines,
    mailboxes,
    odd,
    odd_mailboxes,
    people,
    read,
)
from tests.unit.samples import NOON, body, modest, request
from tracepost.problems import Invalid
from tracepost.requests import decode


@modest
@given(subject=lines, sender=mailboxes(), text=bodies | st.none(), html=bodies, note=lines)
def test_lines_end_in_crlf_and_are_short_ascii(
    subject: str, sender: str, text: str | None, html: str, note: str
) -> None:
    made = accepted(subject=subject, sender=sender, text=text, html=html, headers={"X-Note": note})
    mail = compose(made, TRACKED, NOON)
    assert mail.isascii()
    rest = mail.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert b"\0" not in rest
    assert longest(mail) <= 998


def longest(mail: bytes) -> int:
    return max(map(len, mail.split(b"\r\n")))


def test_50_recipients_make_no_long_line() -> None:
    made = request(to=[f'"{"ä" * 40} {number}" <person{number}@example.org>' for number in range(50)])
    mail = compose(made, UNTRACKED, NOON)
    assert longest(mail) <= 998
    assert len(people(read(mail), "to")) == 50


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a" * 900},
        {"subject": "word " * 1500},
        {"subject": "ä" * 900},
        {"headers": {"References": " ".join(f"<{number:042}@example.org>" for number in range(100))}},
        {"headers": {"X" * 76: "a" * 900}},
        {"sender": f'"{"a" * 570}" <shop@example.org>'},
        {"sender": f'"{"ä" * 570}" <shop@example.org>'},
        {"list_unsubscribe": "https://example.org/" + "a" * 870},
    ],
    ids=[
        "one word",
        "many words",
        "encoded",
        "references",
        "long name",
        "sender",
        "encoded sender",
        "list-unsubscribe",
    ],
)
def test_what_is_accepted_makes_no_long_line(fields: dict[str, Any]) -> None:
    assert longest(compose(request(**fields), UNTRACKED, NOON)) <= 998


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a" * 1000},
        {"headers": {"X-Note": "a " + "b" * 1000}},
        {"sender": f'"{"a" * 1000}" <shop@example.org>'},
        {"list_unsubscribe": "https://example.org/" + "a" * 1000},
        {"list_unsubscribe": "https://example.org/" + "ä" * 600},
    ],
)
def test_what_no_line_could_hold_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        request(**fields)


@pytest.mark.parametrize("length", [60, 70, 100, 900])
def test_a_long_word_stays_on_the_line_of_its_header(length: int) -> None:
    word = f"<{'a' * length}@example.org>"[-900:]
    mail = compose(request(subject=word, headers={"In-Reply-To": word}), UNTRACKED, NOON)
    assert b":\r\n" not in mail.replace(b" \r\n", b"\r\n")
    assert read(mail)["subject"] == read(mail)["in-reply-to"] == word


@modest
@given(st.lists(st.text(st.sampled_from("ab,;:=?ä"), min_size=1, max_size=30), max_size=60), st.integers(1, 3))
def test_a_folded_value_reads_back(words: list[str], spaces: int) -> None:
    value = (" " * spaces).join(words)
    mail = compose(accepted(subject=value, headers={"X-Note": value}), UNTRACKED, NOON)
    assert ((read(mail)["subject"] or ""), read(mail)["x-note"]) == (value, value)
    assert longest(mail) <= 998


@pytest.mark.parametrize("fields", [{}, {"html": "<p>ä", "text": None}], ids=["text", "html"])
def test_a_mail_of_one_part_is_the_same_at_every_attempt(fields: dict[str, Any]) -> None:
    raw = body(**fields)
    assert compose(decode(raw), TRACKED, NOON) == compose(decode(raw), TRACKED, NOON)


def test_a_mail_of_two_parts_is_the_same_at_every_attempt() -> None:
    raw = body(text="a", html="b")
    assert compose(decode(raw), TRACKED, NOON) == compose(decode(raw), TRACKED, NOON)


# header lines

LONG_LISTS = st.lists(mailboxes() | odd_mailboxes(), min_size=1, max_size=12)


@modest
@given(subject=lines | odd, to=LONG_LISTS, note=lines | odd, name=st.sampled_from(["X", "X-Note", "X" * 40]))
@example(subject="Ä" * 300, to=["bob@example.org"], note="word " * 300 + "end", name="X-Note")
def test_header_lines_are_no_longer_than_78_but_for_single_words(
    subject: str, to: list[str], note: str, name: str
) -> None:
    mail = compose(accepted(subject=subject, to=to, headers={name: note}), UNTRACKED, NOON)
    for line in mail.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert len(line) <= 78 or b" " not in re.sub(rb"^(?:[\w-]+: | +)", b"", line)


ENCODED_WORD = re.compile(rb"=\?utf-8\?(?:(q)|b)\?([^?]+)\?=")


@modest
@given(lines | odd, mailboxes() | odd_mailboxes())
@example("\U0001f642" * 200, '"' + "\u0416" * 200 + '" <ann@example.org>')
@example("a\u0301" * 200, '"' + "e\u00e9 " * 100 + '" <ann@example.org>')
def test_an_encoded_word_is_short_and_holds_whole_characters(subject: str, sender: str) -> None:
    head = compose(accepted(subject=subject, sender=sender), UNTRACKED, NOON).partition(b"\r\n\r\n")[0]
    for word in ENCODED_WORD.finditer(head):
        assert len(word[0]) <= 75
        raw = decodestring(word[2], header=True) if word[1] else b64decode(word[2], validate=True)
        raw.decode()
    assert b"=?" not in ENCODED_WORD.sub(b"", head)


# encodings


def encodings(mail: bytes) -> list[str]:
    return [part["content-transfer-encoding"] for part in read(mail).walk() if not part.is_multipart()]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("", "7bit"),
        ("It is on its way.\n\tYours\n", "7bit"),
        ("a" * 598, "7bit"),
        ("a" * 599, "quoted-printable"),
        ("abc\x0cdefg" * 10, "quoted-printable"),
        ("Viele freundliche Grüße aus dem Süden", "quoted-printable"),
        ("Привет", "base64"),
        (".", "base64"),
        ("a\r..b", "base64"),
        ("From me", "base64"),
        ("a\nFrom me", "base64"),
        ("From: me\n a.\n", "7bit"),
    ],
)
@pytest.mark.parametrize("kind", ["text", "html"])
def test_a_text_goes_as_it_is_or_in_the_shorter_encoding(kind: str, text: str, encoding: str) -> None:
    assert encodings(compose(request(**{"text": None, kind: text}), TRACKED, NOON)) == [encoding]


@modest
@given(
    st.lists(st.sampled_from(["a", "ä", " ", "\t", ".", "=", "\n", "\r", "b" * 70, "c" * 30]), max_size=200).map(
        "".join
    )
)
@example("a" * 74 + "ä \n")
@example("ä" + "a" * 69 + " \n")
@example("ä" + "a" * 69 + "\t")
def test_the_lines_of_an_encoded_text_are_no_longer_than_76(text: str) -> None:
    whole = compose(accepted(text=text, html=f"<p>{text}</body>{text}"), TRACKED, NOON)
    for part in read(whole).iter_parts():
        if part["content-transfer-encoding"] != "7bit":
            assert max(map(len, str(part.get_payload()).splitlines())) <= 76


@modest
@given(st.sampled_from(["", "ä", "ж" * 20]), st.sampled_from(["--=_{}", "--=_{}--", "a--=_{}", "=_{}\n--=_{}"]))
def test_the_boundary_stands_in_no_part(beyond: str, attack: str) -> None:
    made = accepted(text=beyond, html=beyond)
    told = beyond + "\n" + attack.replace("{}", made.message_id.hex)
    mail = compose(made.model_copy(update={"text": told, "html": told}), TRACKED, NOON)
    assert mail.count(f"=_{made.message_id.hex}".encode()) == 4
    assert [part.get_content().count("=_") for part in read(mail).iter_parts()] == [attack.count("=_")] * 2


def test_an_image_that_no_line_has_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        compose(request(html="a"), Links("<1@x>", "b+token", f"https://pixel.example/{'a' * 400}"), NOON)
