"""Requests of any kind, good and bad, and whether a mail says what its request asked for."""

from __future__ import annotations

import re
from base64 import b64encode
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from typing import Any

from hypothesis import strategies as st

from tests.unit.mails import (
    ALWAYS,
    ODD,
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
from tests.unit.test_requests import ATTACKS
from tracepost.problems import Problem
from tracepost.requests import SendRequest

# Anything at all, things that mean something to somebody, and attacks, mixed.
PIECES = st.sampled_from([*ODD, *ATTACKS.values(), "\t", "\r\n", "\x7f", "\u202e", "a" * 80, "ä" * 80, "</body>", "."])
WILD = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.lists(PIECES, max_size=8).map("".join)
    | st.lists(st.sampled_from(ODD), max_size=40).map("".join)
)
TAME = lines | odd
ADDRESSES = "ann@example.org", '"a b"@example.com', "jörg@bücher.example"
BAD_ADDRESSES = "x@", "a@b.org\r\nBcc: c", "ann@example.org\n"
NAMES = "X-Note", "In-Reply-To", "Comments", "References"
BAD_NAMES = "Bcc", "X Note", "X-Note\r\nBcc", "Message-ID"


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def requests(draw: st.DrawFn, to: tuple[str, ...] = ADDRESSES) -> dict[str, Any]:
    """The fields of a request to one of these addresses: good ones, or whatever they may be."""
    tame = TAME, to, NAMES
    value, addresses, names = draw(st.sampled_from([tame, (WILD, to + BAD_ADDRESSES, NAMES + BAD_NAMES)]))
    files = draw(st.lists(st.tuples(st.binary(max_size=100), value), max_size=2))
    return {
        "sender": f"{quoted(draw(value))} <shop@example.org>",
        "to": [f"{quoted(draw(value))} <{draw(st.sampled_from(addresses))}>"],
        "subject": draw(value),
        "text": draw(value | st.none()),
        "html": draw(value | st.none()),
        "headers": draw(st.dictionaries(st.sampled_from(names), value, max_size=2)),
        "attachments": [{"filename": name, "content": b64encode(content).decode()} for content, name in files],
    }


def explained(problem: Problem, fields: dict[str, Any]) -> bool:
    """Whether every fault is told with its place in the request and its reason."""
    names = {"", *("from" if name == "sender" else name for name in fields)}
    return bool(problem.errors) and all(
        fault.pointer.split("/")[:2][-1] in names and fault.detail for fault in problem.errors
    )


def image(mail: bytes) -> str:
    """The HTML of its pixel; without one, something that it does not hold."""
    shown = re.search(r'<img src="[^"]*/o/[\w-]{42}\.gif" [^>]*>', content(read(mail), "html") or "")
    return shown[0] if shown else "\0"


def check(asked: SendRequest, mail: bytes, image: str) -> None:
    """AssertionError unless the mail says what was asked for; `image` is its pixel, as HTML."""
    _check_header(asked, mail)
    html = content(read(mail), "html") or ""
    assert html.count(image) == (asked.html is not None)
    assert ended(html.replace(image, ""), read(mail)) == ended(canonical(asked.html or ""), read(mail))
    assert ended(content(read(mail), "plain"), read(mail)) == ended(canonical(asked.text), read(mail))
    files = [(each.filename, each.content) for each in asked.attachments]
    assert attached(read(mail)) == attached(message_from_bytes(mail)) == files


def _check_header(asked: SendRequest, mail: bytes) -> None:
    there = [name for name in ALWAYS if name != "subject" or asked.subject]
    found = [name for name in header_names(mail) if name != "dkim-signature"]
    assert sorted(found) == sorted([*there, *map(str.lower, asked.headers)])
    parsed = message_from_bytes(mail)
    for name, value in [("Subject", asked.subject), *asked.headers.items()]:
        assert _decoded(_unfolded(parsed, name)) == value
    for name, texts in (("From", [asked.from_]), ("To", asked.to)):
        addressed = getaddresses([_unfolded(parsed, name)])
        assert [(_decoded(shown), address) for shown, address in addressed] == meant(texts)


def _unfolded(mail: Message, name: str) -> str:
    raw = next((value for each, value in mail.raw_items() if each == name), "")
    return re.sub(r"\r?\n", "", raw).encode("ascii", "surrogateescape").decode()


def _decoded(value: str) -> str:
    return str(make_header(decode_header(value)))
