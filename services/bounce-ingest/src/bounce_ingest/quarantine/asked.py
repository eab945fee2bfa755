"""What the API of the quarantine is asked, and the events that a person makes of a report; pure."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from bounce_ingest.quarantine.values import Entry, Reason
from tracepost.bounces.classify import rules
from tracepost.events import (
    AnyEvent,
    BounceClass,
    Bounced,
    Complained,
    EnhancedCode,
    FeedbackType,
    derived_id,
    event,
    storable,
)

MOST_WORDS = 1_000
BY_HAND = "by-hand"  # the rule that a decision is told as
OTHER = "other"


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("holds U+0000 or half a surrogate pair; remove it")
    return text


def _category(text: str) -> str:
    known = {rule.cause.category for rule in rules()} | {OTHER}
    if text not in known:
        raise ValueError(f"is none of {', '.join(sorted(known))}")
    return text


def _version_7(message_id: UUID) -> UUID:
    if message_id.version != 7:
        raise ValueError("is no id of a message, which is a UUIDv7")
    return message_id


Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MOST_WORDS), AfterValidator(_storable)]
Seq = Annotated[int, Field(ge=1, lt=2**63)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Listing(_Asked):
    """The query of `GET /v1/quarantine`, the newest first; `cursor` from the page before."""

    reason: Reason | None = None
    cursor: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Again(_Asked):
    """What is run again, the newest first; `cursor` from the answer before."""

    reason: Reason | None = None
    cursor: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 100


class Placing(_Asked):
    """Which delivery a report is about, as a person sees it."""

    message_id: Annotated[UUID, AfterValidator(_version_7)]
    recipient_no: Annotated[int, Field(ge=0, le=255)]


class BouncedByHand(Placing):
    """It tells of a failure."""

    event: Literal["bounced"]
    bounce_class: BounceClass
    category: Annotated[str, AfterValidator(_category)] = OTHER
    diagnostic: Words = ""
    smtp_code: Annotated[int, Field(ge=400, le=599)] | None = None
    enhanced_code: EnhancedCode | None = None


class ComplainedByHand(Placing):
    """It tells of a complaint."""

    event: Literal["complained"]
    feedback_type: FeedbackType = "abuse"
    reporter: Words | None = None


Classification = Annotated[BouncedByHand | ComplainedByHand, Field(discriminator="event")]


def told(entry: Entry, said: BouncedByHand | ComplainedByHand) -> AnyEvent:
    """The event of a person's word: a candidate, which proves nothing; the same word again gives the same id."""
    data: Bounced | Complained
    match said:
        case BouncedByHand():
            facts = said.model_dump(exclude={"event", "message_id", "recipient_no"})
            data = Bounced(**facts, rule=BY_HAND, certainty="candidate", origin="api")
        case ComplainedByHand(feedback_type=kind, reporter=reporter):
            data = Complained(feedback_type=kind, reporter=reporter, certainty="candidate", origin="api")
    id_ = derived_id("classified", entry.id, said.message_id, said.recipient_no, said.model_dump_json())
    return event("bounce-ingest", said.message_id, said.recipient_no, data, id=id_)
