"""What clients may ask of the suppression list, and for whose mail; pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tracepost.addresses import MOST_CHARACTERS, normal, parse
from tracepost.events import RejectionReason, storable
from tracepost.keys import Name
from tracepost.times import Time

MOST_CHECKED = 1_000

Address = Annotated[
    str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(lambda text: normal(parse(text).address))
]
"""A mailbox; what is kept of it is its address in normal form."""

Why = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000),
    AfterValidator(storable),
]


class Asked(BaseModel):
    """The body of a request; addresses never stand in a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Search(Asked):
    """Everything about one address; with `at`, what was known then, and what held."""

    address: Address
    at: Time | None = None


class Addition(Asked):
    """Not to be written to by an app, or by none; for ever without `until`."""

    address: Address
    app: Name | None = None
    until: Time | None = None
    why: Why


class Lifting(Asked):
    """To be written to again, by an app or by all."""

    address: Address
    app: Name | None = None
    why: Why


class Listing(Asked):
    """The entries that hold, newest first; `cursor` from the page before."""

    reason: RejectionReason | None = None
    app: Name | None = None
    cursor: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Check(Asked):
    """Would mail to these addresses be rejected?"""

    addresses: Annotated[tuple[Address, ...], Field(min_length=1, max_length=MOST_CHECKED)]
    app: Name | None = None
