"""What the queue's API is asked: queries, bodies, and places in lists; pure."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from sender.operating import State
from tracepost.addresses import parse
from tracepost.events import Utc, storable
from tracepost.requests import Text

Run = Literal["normal", "bulk", "timed", "parked"]

# A page goes through the partial indexes one after the other: they alone hold what is not done.
RUNS: dict[State | None, tuple[Run, ...]] = {
    None: ("normal", "bulk", "timed", "parked"),
    "ready": ("normal", "bulk"),
    "waiting": ("timed",),
    "leased": ("timed",),
    "in_doubt": ("timed",),
    "parked": ("parked",),
}
LANES: tuple[Literal["normal", "bulk"], ...] = ("normal", "bulk")
MOST_REASON = 1_000


class Place(BaseModel):
    """Where a list of deliveries goes on: after this one, in this run."""

    model_config = ConfigDict(frozen=True)

    run: Run
    destination: Text = ""
    due_at: Utc = datetime(1970, 1, 1, tzinfo=UTC)
    message_id: UUID = UUID(int=0)
    recipient_no: Annotated[int, Field(ge=-1, le=255)] = -1

    @property
    def cursor(self) -> str:
        """The place as clients hand it back."""
        return urlsafe_b64encode(self.model_dump_json().encode()).decode()


def _place(cursor: object) -> object:
    try:
        return Place.model_validate_json(urlsafe_b64decode(str(cursor)))
    except (ValidationError, ValueError, Error):
        raise ValueError("is no cursor of ours; take the one that came with the page before") from None


def _domain(text: str) -> str:
    try:
        return parse(f"x@{text.strip()}").domain
    except ValueError:
        raise ValueError("is no domain; name one as it stands behind the @ of an address") from None


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("holds U+0000 or half a surrogate pair; remove it")
    return text


Destination = Annotated[str, StringConstraints(max_length=253), AfterValidator(_domain)]
Limit = Annotated[int, Field(ge=1, le=500)]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_REASON),
    AfterValidator(_storable),
]
RecipientNo = Annotated[int, Field(ge=0, le=255, strict=True)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deliveries(_Asked):
    """The query of `GET /v1/queue/deliveries`."""

    state: Literal["ready", "waiting", "leased", "in_doubt", "parked"] | None = None
    destination: Destination | None = None
    cursor: Annotated[Place | None, BeforeValidator(_place)] = None
    limit: Limit = 50

    @model_validator(mode="after")
    def _of_one_list(self) -> Deliveries:
        if self.cursor and self.cursor.run not in RUNS[self.state]:
            raise ValueError("the cursor is of another list; ask with the same state as for the page before")
        return self

    @property
    def places(self) -> list[Place]:
        """Where to look, one after the other."""
        runs = RUNS[self.state]
        if self.cursor is None:
            return [Place(run=run) for run in runs]
        later = runs[runs.index(self.cursor.run) + 1 :]
        return [self.cursor, *(Place(run=run) for run in later)]


class Destinations(_Asked):
    """The query of `GET /v1/queue/destinations`."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Pauses(_Asked):
    """The query of `GET /v1/pauses`, by name."""

    cursor: Text = ""
    limit: Limit = 50


class Decisions(_Asked):
    """The query of `GET /v1/decisions`, the newest first."""

    cursor: Annotated[int, Field(ge=0, lt=2**63)] = 2**63 - 1
    limit: Limit = 50


class Wish(_Asked):
    """The body of a change: why."""

    reason: Reason


class CancelWish(Wish):
    """Why, and for whom; without numbers for all recipients."""

    recipients: Annotated[tuple[RecipientNo, ...], Field(min_length=1, max_length=256)] | None = None


class PauseWish(Wish):
    """Why, and which destination, or `*` for all."""

    destination: Literal["*"] | Destination


def totals(rows: Iterable[Mapping[str, Any]], bound: int) -> list[dict[str, Any]]:
    """Counts by lane and state; `at_least` where the bound kept the statement from looking further."""
    looked: Counter[Run] = Counter()
    counts: dict[tuple[str, State], int] = {}
    for row in rows:
        looked[row["part"]] += row["looked"]
        counts[row["lane"], row["state"]] = row["count"]
    return [
        {
            "lane": lane,
            "state": state,
            "count": counts.get((lane, state), 0),
            "at_least": looked[lane if state == "ready" else RUNS[state][0]] >= bound,
        }
        for lane in LANES
        for state in RUNS
        if state
    ]
