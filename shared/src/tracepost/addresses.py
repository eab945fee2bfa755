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
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")

# RFC 5321 allows an address 254, and what stands before the @ 64; a name must leave room for it in a header line.
MOST_CHARACTERS = 600
_MOST_OF_ADDRESS, _MOST_OF_LOCAL_PART = 254, 64


class Mailbox(NamedTuple):
    """A display name (may be empty) and an address, its domain in ASCII and lower case.

    What stands before the @ may be beyond ASCII: then the mail needs SMTPUTF8 (RFC 6531).
    """

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
    return Mailbox(_ESCAPED.sub(r"\1", name[1:-1]) if name.startswith('"') else name, _usual(address))


def _usual(address: str) -> str:
    """The address, its domain in ASCII and lower case; ValueError says what is wrong with it."""
    local, _, domain = address.rpartition("@")
    if len(local) <= _MOST_OF_LOCAL_PART and _ATOMS.fullmatch(local) and domain.isascii():
        with suppress(ValueError):  # whose words would be about another address
            if len(usual := f"{local}@{_domain(domain)}") <= _MOST_OF_ADDRESS:
                return usual
    return _validated(address)


@lru_cache(10_000)  # there are far fewer domains than addresses
def _domain(text: str) -> str:
    return _validated(f"a@{text}").removeprefix("a@")


def _validated(address: str) -> str:
    try:
        valid = validate_email(
            address,
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,  # admits the domain .test, which simulators use
            allow_quoted_local=True,
            allow_smtputf8=True,
            strict=True,
        )
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return valid.ascii_email or f"{valid.local_part}@{valid.ascii_domain}"


def normal(address: str) -> str:
    """The form in which two spellings of an address are equal."""
    with suppress(ValueError):
        return (address if address.isascii() else parse(address).address).strip().lower()
    return address.strip().lower()


def masked(address: str) -> str:
    """An address for a log line or a page: the domain whole, of the local part the first letter."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def _checked(text: str) -> str:
    parse(text)
    return text


MailboxText = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_checked)]
