"""Composing a copy of 2 kB with text, HTML and a pixel: every second one all in ASCII, the others beyond."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.header import Header
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, formataddr
from functools import partial
from itertools import cycle, islice

from uuid_utils.compat import uuid7

from sender.compose import TOKEN_HEADER, Links, prepare
from sender.parts import image
from tests.bench.harness import Bench, Ratio, Work, Wrong
from tests.unit.samples import NOON
from tracepost.addresses import parse
from tracepost.requests import SendRequest, decode

NAME = "compose"
DIFFERENT = 200
CHECKED = 20
PIXEL = f"https://pixel.example/o/{'a' * 42}.gif"
LINKS = Links("<01890a5d-ac96-774b-bcce-b302099a8057@bounces.example>", f"b+{'a' * 50}", PIXEL)

Compose = Callable[[SendRequest], bytes]


def sample(number: int) -> SendRequest:
    """A request with texts of 2 kB."""
    name, shop, way = (
        ("Ann Smith", "Shop", "on its way") if number % 2 else ("Änne Müller", "Lädchen", "für Sie bereit")
    )
    lines = [f"Dear {name}, item {item} of your order {number} is {way}." for item in range(16)]
    made = {
        "message_id": str(uuid7()),
        "from": f"{shop} <shop@example.com>",
        "to": [f"{name} <person{number}@example.org>"],
        "subject": f"Your order {number} is {way}",
        "text": "".join(f"{line}\n" for line in lines),
        "html": f"<html><body>\n{''.join(f'<p>{line}</p>{chr(10)}' for line in lines)}</body></html>\n",
    }
    return decode(json.dumps(made).encode())


def ours(request: SendRequest) -> bytes:
    """As the sender does."""
    return prepare(request, NOON).copy(LINKS)


def modern(request: SendRequest) -> bytes:
    """As the standard library's documentation does."""
    message = EmailMessage(policy.SMTP)
    message["From"], message["To"], message["Subject"] = request.from_, ", ".join(request.to), request.subject
    message["Date"], message["Message-ID"] = NOON, LINKS.rfc_message_id
    message[TOKEN_HEADER] = LINKS.return_token
    message.set_content(request.text)
    message.add_alternative(_with_pixel(request), subtype="html")
    return message.as_bytes()


def classic(request: SendRequest) -> bytes:
    """As it was done before Python 3.6."""
    message = MIMEMultipart("alternative")
    for name, texts in (("From", (request.from_,)), ("To", request.to)):
        message[name] = ", ".join(formataddr(parse(text)) for text in texts)
    message["Subject"] = Header(request.subject, header_name="Subject").encode()
    message["Date"], message["Message-ID"] = format_datetime(NOON), LINKS.rfc_message_id
    message[TOKEN_HEADER] = LINKS.return_token
    message.attach(MIMEText(request.text or "", "plain", "utf-8"))
    message.attach(MIMEText(_with_pixel(request), "html", "utf-8"))
    return message.as_bytes(policy=policy.compat32.clone(linesep="\r\n"))


def _with_pixel(request: SendRequest) -> str:
    return (request.html or "").replace("</body>", f"{image(PIXEL).decode()}</body>")


@asynccontextmanager
async def composing(compose: Compose, count: int, _: str) -> AsyncIterator[Work]:
    """So many copies."""
    requests = [sample(number) for number in range(DIFFERENT)]

    async def work() -> int:
        for request in islice(cycle(requests), count):
            compose(request)
        return count

    yield work
    for request in requests[:CHECKED]:
        _check(request, compose(request))


def _check(request: SendRequest, composed: bytes) -> None:
    mail = message_from_bytes(composed, policy=policy.default)
    meant = [tuple(parse(text)) for text in (request.from_, *request.to)]
    found = [(each.display_name, each.addr_spec) for name in ("from", "to") for each in mail[name].addresses]
    if (mail["subject"], found) != (request.subject, meant):
        raise Wrong(f"the headers read {mail['subject']!r}, {found}")
    if (mail["date"].datetime, mail[TOKEN_HEADER]) != (NOON.replace(microsecond=0), LINKS.return_token):
        raise Wrong("date or token do not read back")
    for kind, content in (("plain", request.text), ("html", _with_pixel(request))):
        part = mail.get_body((kind,))
        if part is None or part.get_content().replace("\r\n", "\n") != content:
            raise Wrong(f"the {kind} text does not read back")


BENCH = Bench(
    NAME,
    "message",
    {
        "ours": partial(composing, ours, 10_000),
        "email.message.EmailMessage": partial(composing, modern, 400),
        "email.mime (compat32)": partial(composing, classic, 2_000),
    },
    [Ratio("ours", "email.message.EmailMessage", reach=10), Ratio("ours", "email.mime (compat32)")],
)
