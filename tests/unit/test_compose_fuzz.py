"""Whatever is asked for is what every reader reads, or it is refused with the place and the reason."""

from __future__ import annotations

import re
from base64 import b64encode
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sender.compose import compose
from sender.dkim import Unsigned, signed
from tests.signatures import ED25519, by_dkimpy
from tests.unit.mails import (
    ALWAYS,
    IMAGE,
    ODD,
    TRACKED,
    attached,
    canonical,
    content,
    ended,
    header_names,
    lines,
    meant,
    odd,
    read,
)
from tests.unit.samples import NOON, body
from tests.unit.test_requests import ATTACKS
from tracepost.problems import Invalid
from tracepost.requests import SendRequest, decode

# Anything at all, things that mean something to somebody, and attacks, mixed.
PIECES = st.sampled_from([*ODD, *ATTACKS.values(), "\t", "\r\n", "\x7f", "\u202e", "a" * 80, "ä" * 80, "</body>", "."])
WILD = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.lists(PIECES, max_size=8).map("".join)
    | st.lists(st.sampled_from(ODD), max_size=40).map("".join)
)
TAME = lines | odd
GOOD_ADDRESSES = st.sampled_from(["ann@example.org", '"a b"@example.com', "jörg@bücher.example"])
ADDRESSES = GOOD_ADDRESSES | st.sampled_from(["x@", "a@b.org\r\nBcc: c", "ann@example.org\n"])
GOOD_NAMES = st.sampled_from(["X-Note", "In-Reply-To", "Comments", "References"])
HEADER_NAMES = GOOD_NAMES | st.sampled_from(["Bcc", "X Note", "X-Note\r\nBcc", "Message-ID"])


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a request: good ones, or whatever they may be."""
    value, address, name = draw(st.sampled_from([(TAME, GOOD_ADDRESSES, GOOD_NAMES), (WILD, ADDRESSES, HEADER_NAMES)]))
    files = draw(st.lists(st.tuples(st.binary(max_size=100), value), max_size=2))
    return {
        "sender": f"{quoted(draw(value))} <shop@example.org>",
        "to": [f"{quoted(draw(value))} <{draw(address)}>"],
        "subject": draw(value),
        "text": draw(value | st.none()),
        "html": draw(value | st.none()),
        "headers": draw(st.dictionaries(name, value, max_size=2)),
        "attachments": [{"filename": name, "content": b64encode(content).decode()} for content, name in files],
    }


@settings(max_examples=400, deadline=None)
@given(requests())
@example({"sender": "=?utf-8?q?a?= <shop@example.org>", "to": ["jörg@example.org"], "subject": "=?", "html": "\n.\n"})
def test_what_is_asked_for_is_what_is_read_or_the_reason_is_told(fields: dict[str, Any]) -> None:
    try:
        asked = decode(body(**fields))
    except Invalid as error:
        names = {"", *("from" if name == "sender" else name for name in fields)}
        for fault in error.problem.errors:
            assert fault.pointer.split("/")[:2][-1] in names
            assert fault.detail
        return
    mail = signed(Unsigned(compose(asked, TRACKED, NOON), (ED25519,), NOON))
    assert by_dkimpy(mail, (ED25519,)) == [True]
    _check_header(asked, mail)
    html = content(read(mail), "html") or ""
    assert html.count(IMAGE) == (asked.html is not None)
    assert ended(html.replace(IMAGE, ""), read(mail)) == ended(canonical(asked.html or ""), read(mail))
    assert ended(content(read(mail), "plain"), read(mail)) == ended(canonical(asked.text), read(mail))
    files = [(each.filename, each.content) for each in asked.attachments]
    assert attached(read(mail)) == attached(message_from_bytes(mail)) == files


def _check_header(asked: SendRequest, mail: bytes) -> None:
    there = [name for name in ALWAYS if name != "subject" or asked.subject]
    assert sorted(header_names(mail)) == sorted(["dkim-signature", *there, *map(str.lower, asked.headers)])
    parsed = message_from_bytes(mail)
    for name, value in [("Subject", asked.subject), *asked.headers.items()]:
        assert _decoded(_unfolded(parsed, name)) == value
    for name, texts in (("From", [asked.from_]), ("To", asked.to)):
        found = getaddresses([_unfolded(parsed, name)])
        assert [(_decoded(shown), address) for shown, address in found] == meant(texts)


def _unfolded(mail: Message, name: str) -> str:
    raw = next((value for each, value in mail.raw_items() if each == name), "")
    return re.sub(r"\r?\n", "", raw).encode("ascii", "surrogateescape").decode()


def _decoded(value: str) -> str:
    return str(make_header(decode_header(value)))
