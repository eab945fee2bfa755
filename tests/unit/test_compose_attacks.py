"""A composed mail has no header that an attacker adds, whatever was let through before."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sender.compose import Links, compose
from sender.fields import HeadersAltered, check
from tests.unit.mails import (
    ALWAYS,
    MIME,
    TRACKED,
    UNTRACKED,
    accepted,
    canonical,
    content,
    header_names,
    lines,
    names,
    read,
)
from tests.unit.samples import NOON, body, modest, request
from tests.unit.test_requests import ATTACKS, ENCODED_ATTACKS, EVERYTHING, RAW_ATTACKS
from tracepost.problems import Invalid
from tracepost.requests import decode


def test_there_are_no_headers_but_those_that_are_meant() -> None:
    assert header_names(compose(request(), UNTRACKED, NOON)) == ALWAYS
    whole = ["from", "reply-to", "to", "cc", "subject", "date", "message-id", "tracepost-token"]
    whole += ["list-unsubscribe", "list-unsubscribe-post", "in-reply-to", "x-note"]
    assert header_names(compose(request(**EVERYTHING), TRACKED, NOON)) == whole


def test_recipients_in_bcc_stand_nowhere() -> None:
    mail = compose(request(**EVERYTHING), TRACKED, NOON)
    assert b"dora" not in mail.lower()
    assert b"bcc:" not in mail.lower()  # a boundary, in hexadecimal digits, may hold "bcc"
    hidden = compose(request(to=None, bcc=["dora@example.org"]), UNTRACKED, NOON)
    assert header_names(hidden) == [name for name in ALWAYS if name != "to"]


@modest
@given(subject=lines, note=lines, name=names)
def test_no_value_makes_a_header(subject: str, note: str, name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    made = accepted(subject=subject or "-", headers={"X-Note": note}, to=[f'"{quoted}" <ann@example.org>'])
    assert header_names(compose(made, UNTRACKED, NOON)) == [*ALWAYS, "x-note"]


MIME_OF_PARTS = {*MIME, "content-disposition", "content-id"}


def harmless(fields: Mapping[str, Any]) -> bool:
    """Whether a request is refused, or makes a mail with the headers that it should have and no other."""
    try:
        made = decode(body(**fields))
    except Invalid:
        return True
    meant_ = ALWAYS + [name.lower() for name in made.headers] + ["cc"] * bool(made.cc)
    composed = compose(made, UNTRACKED, NOON)
    parts = {name.lower() for part in read(composed).walk() for name in part}
    return sorted(header_names(composed)) == sorted(meant_) and parts <= {*meant_, *MIME_OF_PARTS}


def whole(field: str) -> dict[str, Any]:
    """The fields of a request for a whole mail with this field."""
    other = "Subject: a" if field.startswith("To:") else "To: ann@example.org"
    raw = f"From: shop@example.org\r\n{other}\r\n{field}\r\n\r\n"
    return {"subject": None, "text": None, "raw": b64encode(raw.encode()).decode()}


PLACES: dict[str, Any] = {
    "subject": lambda attack: {"subject": attack},
    "sender's name": lambda attack: {"sender": f'"{attack}" <shop@example.org>'},
    "sender's name, bare": lambda attack: {"sender": f"{attack} <shop@example.org>"},
    "sender": lambda attack: {"sender": f"shop@example.org{attack}"},
    "recipient's name": lambda attack: {"to": [f'"{attack}" <ann@example.org>']},
    "recipient": lambda attack: {"to": [f"ann{attack}@example.org"]},
    "copy": lambda attack: {"cc": [f'"{attack}" <carl@example.org>']},
    "header": lambda attack: {"headers": {"X-Note": attack}},
    "header's name": lambda attack: {"headers": {f"X-{attack}-": "x"}},
    "filename": lambda attack: {"attachments": [{"content": "", "filename": attack}]},
    "content type": lambda attack: {"attachments": [{"content": "", "content_type": f"text/plain; a={attack}"}]},
    "content type, quoted": lambda attack: {"attachments": [{"content": "", "content_type": f'a/b; c="{attack}"'}]},
    "content id": lambda attack: {"html": "", "attachments": [{"content": "", "content_id": attack}]},
    "whole mail's subject": lambda attack: whole(f"Subject: {attack}"),
    "whole mail's recipient": lambda attack: whole(f'To: "{attack}" <ann@example.org>'),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_an_injection_is_refused_or_harmless(place: Any, attack: str) -> None:
    assert harmless(place(attack))
    assert harmless(place(f"{attack} and more"))


@pytest.mark.parametrize("name", ["X-Note\n", "Bcc\n"])
def test_a_header_name_that_ends_in_a_line_feed_is_harmless(name: str) -> None:
    assert harmless({"headers": {name: "x@example.net"}})


@pytest.mark.parametrize("attack", ["\r\n\r\n.\r\nMAIL FROM:<x@example.net>\r\n", "\n.\n", "\r.\r"])
def test_a_body_cannot_end_the_message(attack: str) -> None:
    mail = compose(request(text=attack, html=attack), UNTRACKED, NOON)
    assert b"\r\n.\r\n" not in mail
    assert b"MAIL FROM" not in mail
    assert content(read(mail), "plain") == canonical(attack)


# what holds if a value was let through all the same


def let_through(attack: str) -> dict[str, dict[str, Any]]:
    """The fields of a request, past its checks, that hold the attack."""
    return {
        "subject": {"subject": attack},
        "header": {"headers": {"X-Note": attack}},
        "header's name": {"headers": {f"X-Note: a{attack}": "x"}},
        "sender": {"from_": f'"{attack}" <shop@example.org>'},
        "recipient": {"to": (f"ann{attack}@example.org",)},
        "list-unsubscribe": {"list_unsubscribe": f"https://example.org/{attack}"},
    }


@pytest.mark.parametrize("attack", RAW_ATTACKS.values(), ids=RAW_ATTACKS.keys())
@pytest.mark.parametrize("place", let_through("").keys())
def test_a_raw_attack_that_was_let_through_is_not_composed(place: str, attack: str) -> None:
    made = request().model_copy(update=let_through(attack)[place])
    with pytest.raises((HeadersAltered, ValueError)):
        compose(made, UNTRACKED, NOON)


@pytest.mark.parametrize("attack", ENCODED_ATTACKS.values(), ids=ENCODED_ATTACKS.keys())
def test_an_encoded_attack_that_was_let_through_is_shown_as_it_was_written(attack: str) -> None:
    made = request().model_copy(update={"subject": attack, "headers": {"X-Note": attack}})
    composed = compose(made, UNTRACKED, NOON)
    assert header_names(composed) == [*ALWAYS, "x-note"]
    assert (read(composed)["subject"], read(composed)["x-note"]) == (attack, attack)


@modest
@given(st.text(), st.text(), st.text())
@example("a\r\nBcc: x@example.net", "", "")
def test_whatever_the_values_are_there_is_no_other_header(subject: str, note: str, token: str) -> None:
    made = request().model_copy(update={"subject": subject, "headers": {"X-Note": note}})
    try:
        composed = compose(made, Links("<1@bounces.example>", token, None), NOON)
    except (HeadersAltered, UnicodeError):
        return
    assert header_names(composed) == [name for name in ALWAYS if subject or name != "subject"] + ["x-note"]


@pytest.mark.parametrize(
    "end", ["\r\nBcc: x@example.net", "\n", "\r", "\r\n", "\r\n\r\nbody", "\r\n ", "ä", "\0", "a" * 999]
)
def test_our_own_values_are_looked_at_too(end: str) -> None:
    for own in (Links(f"<1@x>{end}", "b+token", None), Links("<1@x>", f"b+token{end}", None)):
        with pytest.raises(HeadersAltered):
            compose(request(), own, NOON)


@pytest.mark.parametrize(
    "block",
    [
        b"To: a",
        b"To: a\r\nSubject: b\r\nBcc: c",
        b"Subject: b\r\nTo: a",
        b"To: a\r\nTo: a\r\nSubject: b",
        b"To: a\r\nBcc: c\r\nSubject: b",
        b"To: a\r\nSubject",
        b"To: a\r\nSubject : b",
        b"To: a\r\n\r\nSubject: b",
        b"To: a\r\n  \r\nSubject: b",
        b"To: a\r\nSubject: b\r\n",
        b" a\r\nTo: a\r\n",
        b"To: a\nSubject: b",
        b"To: a\rBcc: c\r\nSubject: b",
        b"To: a\n\r\nSubject: b",
        b"To: a\r\n\tb\r\nSubject: b",
        b"To: a\0\r\nSubject: b",
        b"To: a\xc3\xa4\r\nSubject: b",
        b"To: " + b"a" * 995 + b"\r\nSubject: b",
    ],
)
def test_a_block_that_is_not_what_was_meant_is_found_out(block: bytes) -> None:
    with pytest.raises(HeadersAltered):
        check(block, [b"To", b"Subject"])


def test_a_block_that_is_what_was_meant_passes() -> None:
    check(b"To: a,\r\n b\r\nSubject: Bcc: c\r\n Bcc: d\r\n :", [b"To", b"Subject"])
    check(b"To: " + b"a" * 994, [b"To"])


@pytest.mark.parametrize("attack", RAW_ATTACKS.values(), ids=RAW_ATTACKS.keys())
@pytest.mark.parametrize("field", ["filename", "content_type", "content_id"])
def test_a_raw_attack_on_an_attachment_that_was_let_through_is_not_composed(field: str, attack: str) -> None:
    made = request(html="", attachments=[{"content": "", "filename": "a", "content_id": "a"}])
    broken = made.attachments[0].model_copy(update={field: attack})
    try:
        composed = compose(made.model_copy(update={"attachments": (broken,)}), UNTRACKED, NOON)
    except (HeadersAltered, ValueError):
        return
    assert field == "filename"  # whose every character is escaped
    assert {name.lower() for part in read(composed).walk() for name in part} <= {*ALWAYS, *MIME_OF_PARTS}
