"""What the tests of composing share: strategies, and readers of mails that trust no single parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.utils import getaddresses
from html import escape
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from sender.compose import Links
from tests.unit.samples import body
from tracepost.addresses import parse
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


@st.composite
def odd_mailboxes(draw: st.DrawFn) -> str:
    """Names with white space at their ends or in plenty, quotation marks, and what looks like an encoded word."""
    name = draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=30).map("".join))
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{draw(addresses)}>'


# White space wherever it is admitted, and what RFC 2047 and RFC 5322 give a meaning.
ODD = [
    " ",
    "   ",
    "a",
    "word",
    "ä",
    "\u3042",
    "\U0001f642",
    "\u00a0",
    "=?",
    "?=",
    "=?utf-8?q?a?=",
    "=",
    "?",
    "_",
    ",",
    ";",
    '"',
    "\\",
    "<x@y.org>",
]
odd = st.lists(st.sampled_from(ODD), max_size=60).map("".join)


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


def attached(mail: Message) -> list[tuple[str | None, bytes]]:
    """The names and contents of the files attached."""
    parts = [part for part in mail.walk() if part.get_content_disposition() == "attachment"]
    return [(_filename(part), bytes(part.get_payload(decode=True))) for part in parts]


def _filename(part: Message) -> str | None:
    # get_filename of policy.default takes quotation marks off that belong to the name.
    header = part["content-disposition"]
    return header.params.get("filename") if hasattr(header, "params") else part.get_filename()


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
