"""What the services answer, as far as a client builds on it; fields that are new are passed over."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

ISSUES = ("spam", "hard_bounce", "rejected", "failed")
UNDER_WAY = ("queued", "deferred")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Accepted(_Answer):
    """A request that was taken, and the Message-ID that its mails carry."""

    message_id: UUID
    rfc_message_id: str


class Delivery(_Answer):
    """What is known of one recipient's copy."""

    recipient_no: int
    recipient: str | None = None
    status: str
    shown_as: str
    cause: str | None = None
    notes: tuple[str, ...] = ()
    since: datetime | None = None
    delivered_at: datetime | None = None


class Message(_Answer):
    """A message with all its deliveries; `version` rises with every change."""

    message_id: UUID
    version: int
    status: str
    shown_as: str
    app: str | None = None
    reference: str | None = None
    subject: str | None = None
    rollup: dict[str, Any] = {}
    deliveries: tuple[Delivery, ...] = ()

    @property
    def is_issue(self) -> bool:
        """Whether somebody should look at it: a delivery issue."""
        return self.status in ISSUES


class Change(_Answer):
    """The newest state of a message that changed; `cursor` is where to go on after it."""

    cursor: str
    message_id: UUID
    version: int
    status: str
    app: str | None = None
    reference: str | None = None
    rollup: dict[str, Any] = {}
