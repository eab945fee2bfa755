"""What clients may ask of the API: queries and bodies; pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from status_store import terms
from status_store.cursors import CursorText
from status_store.rollup import ISSUES
from status_store.standing import Status
from status_store.terms import address_of
from tracepost.addresses import MOST_CHARACTERS, normal, parse
from tracepost.events import storable
from tracepost.keys import Name
from tracepost.months import least_id
from tracepost.problems import Invalid, Problem
from tracepost.times import Time

MOST_WORD = 1_000
MOST_HOURS, MOST_DAYS = timedelta(days=32), timedelta(days=400)


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("holds U+0000 or half a surrogate pair; remove it")
    return text


Word = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MOST_WORD),
    AfterValidator(_storable),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_WORD, "pattern": "^[^\\u0000]+$"}),
]
Address = Annotated[
    str,
    StringConstraints(max_length=MOST_CHARACTERS),
    AfterValidator(lambda text: normal(parse(text).address)),
    WithJsonSchema({"type": "string", "format": "email"}),
]
"""A mailbox; what is kept of it is its address in normal form."""

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)


class Asked(BaseModel):
    """A query or a body; addresses never stand in a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Listing(Asked):
    """Messages, newest first, that fit all of what is given; `cursor` from the page before."""

    status: Status | Literal["issues"] | None = Field(None, description="`issues`: any delivery issue")
    reference: Word | None = None
    tag: Word | None = None
    sender: Word | None = Field(None, description="the address of From")
    app: Name | None = None
    from_: Time | None = Field(None, alias="from", description="made at that time or later")
    to: Time | None = Field(None, description="made before that time")
    unseen: bool = Field(False, description="delivery issues alone that nobody has seen yet")
    cursor: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Search(Listing):
    """The same by a recipient too."""

    recipient: Address | None = None


Walk = Literal["term", "reference", "unseen", "status", "time"]


Kind = Literal["erase", "withdraw", "export"]


class Wish(Asked):
    """What is asked for an address, and why."""

    address: Address
    reason: Word | None = None


class Answered(Asked):
    """When a recipient answered, and the Message-ID of the answer: the same answer reported twice is one event."""

    at: Time | None = None
    reply_id: Word | None = None


def recipient_no(text: str) -> int:
    """A recipient's number in a path; Invalid where it is none."""
    if not re.fullmatch("[0-9]{1,3}", text, re.ASCII) or int(text) > 255:
        raise Invalid(Problem(code="invalid-number", title="A recipient's number is 0 to 255", status=400))
    return int(text)


class Following(Asked):
    """What comes after the cursor; without one, what comes from now on."""

    cursor: CursorText | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    wait: Annotated[float, Field(ge=0, le=60, description="seconds to wait for a change where there is none yet")] = 0


class Letters(Asked):
    """Dead letters, newest first; `cursor` from the page before."""

    queue: Word | None = None
    code: Word | None = None
    cursor: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class SignIn(Asked):
    """A key, or a login that was made with one."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("key", "login")]
        }
    )

    key: str | None = None
    login: str | None = None

    @model_validator(mode="after")
    def _one(self) -> SignIn:
        if (self.key is None) == (self.login is None):
            raise ValueError("give a key or a login, and not both")
        return self


class Plan(NamedTuple):
    """How a page is found: the index to walk, newest first, and what is asked of each message that it leads to."""

    walk: Walk
    terms: tuple[str, ...]  # of a walk by term, the first one leads
    statuses: tuple[Status, ...]  # empty: any
    reference: str | None
    app: str | None
    unseen: bool
    low: UUID
    high: UUID  # the first that is too new


# Few messages have such a status: to walk through them takes no time.
RARE: tuple[Status, ...] = (*ISSUES, "cancelled", "unknown", "deferred")


def plan(asked: Listing, app: str | None, address_key: Callable[[str], str]) -> Plan:
    """Walk by what the fewest messages have: a recipient, a reference, a rare status, a tag, a sender."""
    found = _terms(asked, app, address_key)
    statuses = _statuses(asked)
    low = least_id(asked.from_) if asked.from_ else FIRST
    high = min(asked.cursor or LAST, least_id(asked.to) if asked.to else LAST)
    walk = _walk(asked, found, statuses)
    return Plan(walk, tuple(found.values()), statuses, asked.reference, app, asked.unseen, low, high)


def _terms(asked: Listing, app: str | None, address_key: Callable[[str], str]) -> dict[str, str]:
    values: dict[terms.Kind, str | None] = {
        "to": address_key(asked.recipient) if isinstance(asked, Search) and asked.recipient else None,
        "tag": asked.tag,
        "sender": asked.sender and address_of(asked.sender),
        "app": app,
    }
    return {kind: terms.hashed(kind, value) for kind, value in values.items() if value is not None}


def _statuses(asked: Listing) -> tuple[Status, ...]:
    if asked.status == "issues" or (asked.unseen and asked.status is None):
        return ISSUES
    return (asked.status,) if asked.status else ()


def _walk(asked: Listing, found: dict[str, str], statuses: tuple[Status, ...]) -> Walk:
    if "to" in found:
        return "term"
    if asked.reference is not None:
        return "reference"
    if asked.unseen:
        return "unseen"
    if statuses and (set(statuses) <= set(RARE) or not found):
        return "status"
    return "term" if found else "time"


class Stats(Asked):
    """A time, in hours or days of UTC; without one the last day, or the last 30 days."""

    from_: Time | None = Field(None, alias="from")
    to: Time | None = None
    by: Literal["hour", "day"] = "hour"
    app: Name | None = None

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """From when to when, both full hours or days."""
        unit = timedelta(**{f"{self.by}s": 1})
        end = self.to or _floor(now, self.by) + unit
        start = self.from_ or end - (timedelta(days=1) if self.by == "hour" else timedelta(days=30))
        return _floor(start, self.by), end

    @model_validator(mode="after")
    def _bounded(self) -> Stats:
        start, end = self.span(datetime.now(UTC))
        if end <= start:
            raise ValueError("from is not before to; give a time that has a length")
        if end - start > (MOST_HOURS if self.by == "hour" else MOST_DAYS):
            raise ValueError("is too long a time: 32 days by the hour, 400 by the day")
        return self


def _floor(time: datetime, by: Literal["hour", "day"]) -> datetime:
    floor = time.replace(minute=0, second=0, microsecond=0)
    return floor if by == "hour" else floor.replace(hour=0)
