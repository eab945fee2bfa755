"""Mailboxes as RFC 5322 writes them: parsed strictly, compared in normal form."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator


class Mailbox(NamedTuple):
    """A display name (may be empty) and an address whose domain is lower-case."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The domain in its ASCII form."""
        return self.address.rpartition("@")[2].encode("idna").decode()


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
    return Mailbox(found.display_name or "", found.normalized)


def normal(address: str) -> str:
    """The form in which two spellings of an address are equal."""
    return address.strip().casefold()


def _checked(text: str) -> str:
    parse(text)
    return text


MailboxText = Annotated[str, AfterValidator(_checked)]
