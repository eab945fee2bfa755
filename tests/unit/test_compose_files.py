"""Attached and inline files arrive byte for byte, under their names, beside the texts."""

from __future__ import annotations

from base64 import b64encode
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sender.compose import compose
from tests.unit.mails import IMAGE, TRACKED, UNTRACKED, accepted, attached, bodies, canonical, content, lines, odd, read
from tests.unit.samples import NOON, modest, request

PNG = b"\x89PNG\r\n\x1a\n"


def file(content: bytes = PNG, **fields: Any) -> dict[str, Any]:
    return {"content": b64encode(content).decode(), **fields}


def shape(part: Message) -> Any:
    """The content type, and those of the parts."""
    inner = part.get_payload() if part.is_multipart() else []
    assert isinstance(inner, list)
    return part.get_content_type() if not inner else (part.get_content_subtype(), *map(shape, inner))


LOGO = file(content_type="image/png", content_id="logo@shop", filename="logo.png")
BILL = file(b"%PDF", content_type="application/pdf", filename="bill.pdf")
SHOWN = '<img src="cid:logo@shop">'
HTML, TEXT = {"html": SHOWN, "text": None}, {"text": "a"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (TEXT | {"attachments": [BILL]}, ("mixed", "text/plain", "application/pdf")),
        (HTML | {"attachments": [BILL]}, ("mixed", "text/html", "application/pdf")),
        (HTML | {"attachments": [LOGO]}, ("related", "text/html", "image/png")),
        (
            HTML | TEXT | {"attachments": [BILL, LOGO, BILL]},
            (
                "mixed",
                ("alternative", "text/plain", ("related", "text/html", "image/png")),
                "application/pdf",
                "application/pdf",
            ),
        ),
    ],
)
def test_a_mail_has_the_shape_that_readers_expect(fields: dict[str, Any], expected: Any) -> None:
    mail = compose(request(**fields), TRACKED, NOON)
    assert shape(read(mail)) == shape(message_from_bytes(mail)) == expected
    assert not any(part.defects for part in read(mail).walk())


def test_an_inline_file_is_part_of_the_html() -> None:
    mail = read(compose(request(**HTML, attachments=[BILL, LOGO]), TRACKED, NOON))
    related = next(part for part in mail.walk() if part.get_content_type() == "multipart/related")
    assert related.get_param("type") == "text/html"
    _, logo = related.iter_parts()
    assert (logo["content-id"], logo.get_content_disposition(), logo.get_filename()) == (
        "<logo@shop>",
        "inline",
        "logo.png",
    )
    assert content(mail, "html") == SHOWN + IMAGE
    assert [each.get_content_disposition() for each in mail.iter_attachments()] == ["attachment"]


def test_a_content_type_keeps_its_parameters() -> None:
    made = request(attachments=[file(b"BEGIN:VCALENDAR", content_type="text/calendar; method=REQUEST; charset=utf-8")])
    *_, calendar = read(compose(made, UNTRACKED, NOON)).iter_parts()
    assert (calendar.get_content_type(), calendar.get_param("method")) == ("text/calendar", "REQUEST")


FILE_NAMES = [
    "bill.pdf",
    'a "b" \\c.pdf',
    "Rechnung für März.pdf",
    "=?utf-8?q?a?=",
    "100%.txt",
    "a*b'c''d.txt",
    "a;b,c=d.txt",
    "a  b",
    '""',
    "<a>",
    "a" * 255,
    "ä" * 255,
    "\u65e5\u672c\u8a9e.pdf",
    "\U0001f642" * 60,
    "../../etc/passwd",
    "a b " * 60 + ".pdf",
]


def files(mail: bytes) -> list[tuple[str | None, bytes]]:
    """The names and contents of what is attached; both parsers must agree."""
    found = [attached(parsed) for parsed in (read(mail), message_from_bytes(mail))]
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("name", FILE_NAMES)
def test_a_file_name_reads_back(name: str) -> None:
    mail = compose(request(attachments=[file(filename=name)]), UNTRACKED, NOON)
    assert files(mail) == [(name, PNG)]
    assert max(map(len, mail.split(b"\r\n"))) <= 80


@pytest.mark.parametrize("name", FILE_NAMES)
def test_older_readers_find_the_name_beside_the_content_type(name: str) -> None:
    mail = message_from_bytes(compose(request(attachments=[file(filename=name)]), UNTRACKED, NOON))
    *_, part = mail.walk()
    told = collapse_rfc2231_value(str(part.get_param("name")).replace("\r\n", ""))
    assert old(told) == name


def old(value: str) -> str:
    return str(make_header(decode_header(value)))


@modest
@given(
    st.lists(st.tuples(st.binary(max_size=300), (lines | odd).map(str.strip) | st.none()), max_size=4),
    bodies | st.none(),
    bodies,
)
@example([(b"", None), (b"\r\n.\r\n", "a"), (b"--=_", "b")], "text", "")
def test_what_is_attached_reads_back(sent: list[tuple[bytes, str | None]], text: str | None, html: str) -> None:
    assume(all(name != "" for _, name in sent))
    asked = [file(content, **({"filename": name} if name else {})) for content, name in sent]
    made = accepted(text=text, html=html, attachments=[*asked, LOGO])
    mail = compose(made, TRACKED, NOON)
    assert files(mail) == [(name, content) for content, name in sent]
    assert IMAGE in (content(read(mail), "html") or "")
    assert content(read(mail), "plain") == canonical(text)


def test_a_large_file_reads_back() -> None:
    large = bytes(range(256)) * 4096
    assert files(compose(request(attachments=[file(large, filename="a")]), UNTRACKED, NOON)) == [("a", large)]
