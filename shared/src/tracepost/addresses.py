"""Mailboxes as RFC 5322 writes them: parsed strictly, compared in normal form."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, NamedTuple

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, StringConstraints

# A name in quotation marks, or one without the characters that have a meaning of their own.
_NAMED = re.compile(r"""(?P<name>"(?:[^"\\]|\\.)*"|[^"<>@,;:\\()\[\]]*?)?\s*<(?P<address>[^<>]*)>""")
_CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(.)")

# RFC 5321 allows an address 254; a name must leave room for it in a header line.
MOST_CHARACTERS = 600


class Mailbox(NamedTuple):
    """A display name (may be empty) and an address in ASCII, its domain in lower case."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What follows the last @."""
        return self.address.rpartition("@")[2]


@lru_cache(10_000)  # each is looked at several times on its way
def parse(text: str) -> Mailbox:
    """`Ann <ann@example.org>` or the bare address; ValueError says what is wrong with it."""
    if _CONTROL.search(text):
        raise ValueError("holds a line break or another control character; remove it")
    found = _NAMED.fullmatch(text.strip())
    if found is None and "<" in text:
        raise ValueError('is no mailbox: write it as Name <address>, and a name with punctuation in "quotation marks"')
    name, address = (found["name"] or "", found["address"]) if found else ("", text.strip())
    try:
        valid = validate_email(
            address,
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,  # admits the domain .test, which simulators use
            allow_quoted_local=True,
            allow_smtputf8=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    assert valid.ascii_email is not None  # what has no form in ASCII is refused above
    return Mailbox(_ESCAPED.sub(r"\1", name[1:-1]) if name.startswith('"') else name, valid.ascii_email)


def normal(address: str) -> str:
    """The form in which two spellings of an address are equal."""
    with suppress(ValueError):
        return (address if address.isascii() else parse(address).address).strip().lower()
    return address.strip().lower()


def _checked(text: str) -> str:
    parse(text)
    return text


MailboxText = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_checked)]
