"""A composed mail says what the request says, to every parser, and nothing that an attacker adds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import getaddresses
from html import escape
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sender.compose import TOKEN_HEADER, Links, compose
from sender.copies import links, rfc_message_id
from tests.unit.samples import KEYRING, MESSAGE, NOON, body, modest, request
from tests.unit.test_requests import ATTACKS, EVERYTHING
from tracepost import tokens
from tracepost.addresses import parse
from tracepost.events import Tracking
from tracepost.problems import Invalid
from tracepost.requests import SendRequest, decode

PIXEL = "https://pixel.example/o/token.gif?a=1&b=2"
IMAGE = f'<img src="{escape(PIXEL)}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'
UNTOUCHED = policy.default.clone(refold_source="none")
UNTRACKED = Links("<1@bounces.example>", "b+token", None)
TRACKED = Links("<1@bounces.example>", "b+token", PIXEL)

ALWAYS = ["from", "to", "subject", "date", "message-id", "tracepost-token"]
MIME = {"content-type", "mime-version", "content-transfer-encoding"}

# Of a line all that a request admits; white space at its ends and an encoded word are for tests of their own.
lines = (
    st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=200)
    .map(str.strip)
    .filter(lambda text: "=?" not in text)
)
names = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "), max_size=60).map(str.strip)
bodies = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=400)
addresses = st.sampled_from(
    ["ann@example.org", "bob.other+tag@example.org", '"a b"@example.com', "x@sub.example.net", "o'neil@example.org"]
)


@st.composite
def mailboxes(draw: st.DrawFn) -> str:
    name = draw(names.filter(lambda text: "=?" not in text))
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{draw(addresses)}>' if name else draw(addresses)


def accepted(**fields: Any) -> SendRequest:
    """The request, if it is accepted: of the rest, other tests tell."""
    try:
        return decode(body(**fields))
    except Invalid:
        assume(False)
        raise


def read(mail: bytes) -> EmailMessage:
    return message_from_bytes(mail, policy=policy.default)


def people(mail: EmailMessage, header: str) -> list[tuple[str, str]]:
    """The mailboxes of a header, read by RFC 2047: policy.default of Python 3.11 puts spaces into long names."""
    if mail[header] is None:
        return []
    raw = re.sub(r"\r?\n", "", message_from_bytes(mail.as_bytes(policy=UNTOUCHED))[header])
    found = [(str(make_header(decode_header(name))), address) for name, address in getaddresses([raw])]
    assert [each.addr_spec for each in mail[header].addresses] == [address for _, address in found]
    return found


def meant(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(mailbox.name, mailbox.address) for mailbox in map(parse, texts)]


def content(mail: EmailMessage, kind: str) -> str | None:
    part = mail.get_body((kind,))
    return None if part is None else str(part.get_content())


def canonical(text: str | None) -> str | None:
    """The text as mail carries it: every line ends in CRLF (RFC 2046, 4.1.1)."""
    return None if text is None else re.sub(r"\r\n|\r|\n", "\r\n", text)


def ended(text: str | None, mail: EmailMessage) -> str | None:
    """The text of a mail of one part ends as the mail does: SMTP would add the line end."""
    return text if text is None or mail.is_multipart() else text.removesuffix("\r\n") + "\r\n"


def header_names(mail: bytes) -> list[str]:
    """The header names in order, MIME's left out; all the parsers that we have must agree."""
    found = [
        [name.lower() for name in parser.parsebytes(mail)]
        for parser in (BytesParser(policy=each) for each in (policy.default, policy.compat32, policy.SMTP))
    ]
    head = mail.partition(b"\r\n\r\n")[0]
    found.append([name.lower().decode() for name in re.findall(rb"(?m)^([^\s:]+):", head.replace(b"\r\n", b"\n"))])
    assert all(each == found[0] for each in found), found
    return [name for name in found[0] if name not in MIME]


# what is composed reads back


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


# header names


def test_there_are_no_headers_but_those_that_are_meant() -> None:
    assert header_names(compose(request(), UNTRACKED, NOON)) == ALWAYS
    whole = ["from", "reply-to", "to", "cc", "subject", "date", "message-id", "tracepost-token"]
    whole += ["list-unsubscribe", "list-unsubscribe-post", "in-reply-to", "x-note"]
    assert header_names(compose(request(**EVERYTHING), TRACKED, NOON)) == whole


def test_recipients_in_bcc_stand_nowhere() -> None:
    mail = compose(request(**EVERYTHING), TRACKED, NOON)
    assert b"dora" not in mail.lower()
    assert b"bcc" not in mail.lower()
    hidden = compose(request(to=None, bcc=["dora@example.org"]), UNTRACKED, NOON)
    assert header_names(hidden) == [name for name in ALWAYS if name != "to"]


@modest
@given(subject=lines, note=lines, name=names)
def test_no_value_makes_a_header(subject: str, note: str, name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    made = accepted(subject=subject or "-", headers={"X-Note": note}, to=[f'"{quoted}" <ann@example.org>'])
    assert header_names(compose(made, UNTRACKED, NOON)) == [*ALWAYS, "x-note"]


def harmless(fields: Mapping[str, Any]) -> bool:
    """Whether a request is refused, or makes a mail with the headers that it should have and no other."""
    try:
        made = decode(body(**fields))
    except Invalid:
        return True
    meant_ = ALWAYS + [name.lower() for name in made.headers] + ["cc"] * bool(made.cc)
    return sorted(header_names(compose(made, UNTRACKED, NOON))) == sorted(meant_)


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


# what travels


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


# what our own names may look like


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


# the pixel


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", IMAGE),
        ("<p>a", f"<p>a{IMAGE}"),
        ("<body>a</body></html>", f"<body>a{IMAGE}</body></html>"),
        ("a</BODY\n>b", f"a{IMAGE}</BODY\n>b"),
        ("<!-- </body> -->a</body>", f"<!-- </body> -->a{IMAGE}</body>"),
        ("a</body>quoted</body> ", f"a</body>quoted{IMAGE}</body> "),
        ("a</bodyguard>", f"a</bodyguard>{IMAGE}"),
        ("\\1\\g<0></body>", f"\\1\\g<0>{IMAGE}</body>"),
    ],
)
def test_the_pixel_stands_before_the_last_body_end_or_at_the_end(html: str, expected: str) -> None:
    assert content(read(compose(request(html=html), TRACKED, NOON)), "html") == canonical(expected)


@modest
@given(bodies)
def test_the_pixel_is_all_that_is_added(html: str) -> None:
    tracked = content(read(compose(accepted(html=html), TRACKED, NOON)), "html")
    assert tracked is not None
    assert tracked.count(IMAGE) == html.count(IMAGE) + 1
    before, after = tracked.rsplit(IMAGE, 1)
    assert before + after == canonical(html)


def test_there_is_no_pixel_without_html_or_when_opens_are_not_tracked() -> None:
    assert b"multipart" not in compose(request(html=None), TRACKED, NOON)
    assert content(read(compose(request(html="<body></body>"), UNTRACKED, NOON)), "html") == "<body></body>"


@pytest.mark.parametrize(("tracking", "flags"), [("full", tokens.TRACK_FULL), ("day", tokens.TRACK_DAY)])
def test_the_links_of_a_copy_name_its_delivery(tracking: Tracking, flags: int) -> None:
    own = links(KEYRING, MESSAGE, 2, "ann@example.org", tracking, "bounces.example", "https://pixel.example/")
    assert own.pixel_url is not None
    found = re.fullmatch(r"https://pixel\.example/o/([\w-]{42})\.gif", own.pixel_url)
    assert found
    pixel = KEYRING.verify("pixel", tokens.from_url(found[1]))
    back = KEYRING.verify("return-path", tokens.from_local_part(own.return_token))
    assert pixel
    assert back
    assert (pixel.message_id, pixel.recipient_no, pixel.flags) == (MESSAGE, 2, flags)
    assert (back.message_id, back.recipient_no) == (MESSAGE, 2)
    assert KEYRING.names(back, "ann@example.org")
    assert own.rfc_message_id == rfc_message_id(MESSAGE, "bounces.example") == f"<{MESSAGE}@bounces.example>"


def test_a_copy_that_is_not_tracked_has_no_pixel() -> None:
    own = links(KEYRING, MESSAGE, 2, "ann@example.org", "off", "bounces.example", "https://pixel.example/")
    assert own.pixel_url is None
