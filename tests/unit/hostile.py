"""Mails that are made to cost time: each takes a size and gives a mail that grows with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice

Build = Callable[[int], bytes]

MULTIPART = b"Content-Type: multipart/report; boundary=b\n\n"
STATUS = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
FROM = b"From: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail Returned to Sender\n"

# Around the bait: where a pattern may look for the end of something.
PLACES = {
    "a header": (FROM + b"X-Bait: ", b"\n\nbody\n"),
    "To": (b"To: ", b"\n\nbody\n"),
    "Subject": (b"From: MAILER-DAEMON@mx.example\nSubject: ", b"\n\nbody\n"),
    "the type": (FROM + b"Content-Type: multipart/report; boundary=b", b"\n\n--b\n\nbody\n--b--\n"),
    "the boundary": (FROM + b'Content-Type: multipart/report; boundary="', b'"\n\n--b\n\nbody\n--b--\n'),
    "the text": (FROM + b"\n", b"\n"),
    "a text part": (FROM + MULTIPART + b"--b\nContent-Type: text/plain\n\n", b"\n--b--\n"),
    "a line of HTML": (FROM + b"Content-Type: text/html\n\n<p>", b"</p>\n"),
    "a recipient": (STATUS + b"Action: failed\nFinal-Recipient: rfc822;", b"\n"),
    "an original recipient": (STATUS + b"Action: failed\nOriginal-Recipient: rfc822;", b"\n"),
    "a status": (STATUS + b"Final-Recipient: rfc822;a@b.example\nAction: failed\nStatus: 5.1.1", b"\n"),
    "a diagnostic": (STATUS + b"Final-Recipient: rfc822;a@b.example\nAction: failed\nDiagnostic-Code: smtp;", b"\n"),
    "an action": (STATUS + b"Final-Recipient: rfc822;a@b.example\nAction: failed", b"\n"),
    "a complaint": (b"Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: ", b"\n"),
    "a returned message": (FROM + MULTIPART + STATUS + b"--b\nContent-Type: message/rfc822\n\nTo: ", b"\n\n--b--\n"),
}
BAITS = {
    "spaces": b" ",
    "tabs and spaces": b"\t  ",
    "brackets": b"<",
    "closed brackets": b"<>",
    "at signs": b"@",
    "local parts": b"a@",
    "addresses": b"<a@b.example> ",
    "bare addresses": b"a@b.example,",
    "semicolons": b"; ",
    "colons": b":",
    "quotes": b'"',
    "escaped quotes": b'\\"',
    "parameters": b';a="',
    "comments": b"(",
    "dots": b"1.",
    "codes": b"550 5.1.1 ",
    "hyphens": b"-",
    "letters": b"a",
    "words": b"user unknown ",
    "encoded words": b"=?utf-8?q?=41?= ",
    "soft line breaks": b"=\n",
    "blank lines": b"\n\n",
    "fields": b"\nX: y",
    "continuations": b"\n x",
    "delimiters": b"\n--b",
    "lines like delimiters": b"\n--b-",
    "lines of hyphens": b"\n------ This is a copy ------\n",
    "quoted lines": b"\n> <a@b.example>: 550 no such user",
    "bare CR": b"\r",
    "NUL": b"\0",
    "beyond ASCII": b"\xff\xfe",
    "lone surrogates": b"\xed\xa0\x80",
    "plus signs": b"+2B",
}


def _put(before: bytes, bait: bytes, after: bytes, size: int) -> bytes:
    return before + (bait * (size // len(bait) + 1))[:size] + after


def baited() -> Iterator[tuple[str, Build]]:
    """Every bait in every place."""
    for place, (before, after) in PLACES.items():
        for bait, text in BAITS.items():
            yield f"{bait} in {place}", partial(_put, before, text, after)


def nested(size: int) -> bytes:
    """Multiparts in one another; 1,500 at 75,000 bytes."""
    depth = size // 50
    opened = (b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (level, level + 1) for level in range(depth))
    return FROM + b"Content-Type: multipart/mixed; boundary=b0\n\n" + b"".join(opened)


def nested_messages(size: int) -> bytes:
    return FROM + b"Content-Type: message/rfc822\n\n" * (size // 30)


def headers(size: int) -> bytes:
    return FROM + b"X-A: b\n" * (size // 7) + b"\nbody\n"


def parts(size: int) -> bytes:
    """10,000 at 100,000 bytes."""
    return FROM + MULTIPART + b"--b\n\nword\n" * (size // 10) + b"--b--\n"


def groups(size: int) -> bytes:
    return STATUS + b"Final-Recipient: rfc822;a@b.example\nAction: failed\n\n" * (size // 52)


def groups_with_words(size: int) -> bytes:
    """Each with a diagnostic that is as long as one may be."""
    group = b"Final-Recipient: rfc822;a%d@b.example\nAction: failed\nDiagnostic-Code: smtp; 550 %s\n\n"
    return STATUS + b"".join(group % (number, b"no user mailbox" * 260) for number in range(size // 4000))


def recipients_in_words(size: int) -> bytes:
    line = b"\n<ann%d@b.example>: host mx.b.example[192.0.2.1] said: 550 5.1.1 no such user\n"
    return FROM + b"\nThe following addresses had errors:\n" + b"".join(line % number for number in range(size // 75))


def encoded(size: int) -> bytes:
    head = FROM + b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
    return head + b"PGFubkBiLmV4YW1wbGU+OiA1NTAgbm8gc3VjaCB1c2VyCg==\n" * (size // 49)


def quoted_printable(size: int) -> bytes:
    head = FROM + b"Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n"
    return head + b"=3Cp=3E=3Cann=40b.example=3E=\n" * (size // 31)


def mixed(size: int) -> bytes:
    """A little of everything that is special, without an order."""
    tokens = islice(cycle(BAITS.values()), size // 6)
    return FROM + MULTIPART + b"--b\n" + b"".join(tokens)


SHAPES: dict[str, Build] = {
    build.__name__: build
    for build in (
        *(nested, nested_messages, headers, parts, groups, groups_with_words, recipients_in_words),
        *(encoded, quoted_printable, mixed),
    )
}
