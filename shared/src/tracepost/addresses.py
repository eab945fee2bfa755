"""Mailboxes as RFC 5322 writes them: parsed strictly, compared in normal form."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, StringConstraints

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


def parse(text: str) -> Mailbox:
    """`Ann <ann@example.org>` or the bare address; ValueError says what is wrong with it."""
    try:
        found = validate_email(
            text,
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,  # admits the domain .test, which simulators use
            allow_display_name=True,
            allow_quoted_local=True,
            allow_smtputf8=False,
        )
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    assert found.ascii_email is not None  # what has no form in ASCII is refused above
    return Mailbox(found.display_name or "", found.ascii_email)


def normal(address: str) -> str:
    """The form in which two spellings of an address are equal."""
    return address.strip().lower()


def _checked(text: str) -> str:
    parse(text)
    return text


MailboxText = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_checked)]
