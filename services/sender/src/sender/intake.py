"""Takes send requests into the queue: each is inserted once, answered, and only then acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from uuid import UUID

from pydantic_core import to_json

from sender.apps import APP_HEADER, Apps
from sender.copies import rfc_message_id
from sender.lanes import Lane
from sender.places import Places
from sender.settings import SenderSettings
from sender.store import Leased, Message, NewDelivery, NewRequest, Queue
from tracepost import crash, requests
from tracepost.broker import Codec, Incoming, Publisher, answer
from tracepost.events import Accepted, AnyEvent, event
from tracepost.problems import Problem
from tracepost.requests import SendRequest
from tracepost.tokens import Keyring

# What can soon begin need not be read again from the queue; what cannot shall not hold up what comes after it.
PLACE_SECONDS = 0.05

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context


@dataclass(frozen=True, slots=True)
class Submission:
    """A request as it came: whose it is, and where its publisher wants the answer."""

    request: SendRequest
    body: bytes
    app: str
    lane: Lane
    reply_to: str | None
    correlation_id: str | None
    traceparent: str | None


def codec(lane: Lane, apps: Apps) -> Codec[Submission]:
    """How requests of a lane are read."""
    return Codec(partial(_decode, lane, apps), lambda submission: submission.body)


def _decode(lane: Lane, apps: Apps, message: Incoming) -> list[Submission]:
    app = apps.of(message.user_id, message.headers.get(APP_HEADER))
    request = requests.decode(message.body)
    apps.check(app, request)
    traceparent = str(message.headers.get("traceparent"))
    return [
        Submission(
            request,
            message.body,
            app,
            lane,
            message.reply_to,
            message.correlation_id,
            traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        )
    ]


@dataclass(frozen=True, slots=True)
class Intake:
    """What requests are taken with."""

    queue: Queue
    publisher: Publisher
    keyring: Keyring
    settings: SenderSettings
    places: Places
    begin: Callable[[Leased], None]  # an attempt that has its place
    arrived: asyncio.Event  # set when there is something to send
    recorded: asyncio.Event  # set when an event waits in the outbox


async def take(intake: Intake, batch: Sequence[Submission]) -> Mapping[int, Problem]:
    """Insert a batch; the same id with the same content again does nothing, with other content it is refused."""
    now = datetime.now(UTC)
    new = [_new(each, intake, now) for each in batch]
    first = {each.message_id: each for each in reversed(new)}
    known = await _inserted(intake, await _claimed(intake, [*first.values()], now))
    crash.point("sender.intake-committed")
    intake.recorded.set()
    digests = {message_id: known.get(message_id, each.digest) for message_id, each in first.items()}
    conflicts = {index: _conflict() for index, each in enumerate(new) if each.digest != digests[each.message_id]}
    for index, each in enumerate(batch):
        if index not in conflicts:
            await _tell(intake.publisher, each, intake.settings.bounce_domain)
    crash.point("sender.answered")
    return conflicts


async def _claimed(intake: Intake, new: Sequence[NewRequest], now: datetime) -> list[NewRequest]:
    """The same, with claims for what can begin at once: it never waits in the queue to be leased and read again."""
    due = [each.destination for request in new if request.due_at <= now for each in request.deliveries]
    claims = iter(await intake.places.claim(new[0].lane, due, PLACE_SECONDS))
    return [
        replace(request, deliveries=[each._replace(claimed=next(claims)) for each in request.deliveries])
        if request.due_at <= now
        else request
        for request in new
    ]


async def _inserted(intake: Intake, new: Sequence[NewRequest]) -> Mapping[UUID, bytes]:
    """Insert these and begin what was leased; answers the digests of what was there already."""
    lane, claimed = new[0].lane, Counter(each.destination for r in new for each in r.deliveries if each.claimed)
    try:
        known, leased = await intake.queue.insert(new)
        claimed.subtract(each.destination for each in leased)
    finally:
        for destination in claimed.elements():
            intake.places.end(lane, destination, "other")
    for each in leased:
        intake.begin(each)
    begun = {each.key for each in leased}
    added = [request for request in new if request.message_id not in known]
    if later := {
        each.destination
        for request in added
        for number, each in enumerate(request.deliveries)
        if (request.message_id, number) not in begun
    }:
        intake.places.queued(lane, later)
        intake.arrived.set()
    return known


def _new(submission: Submission, intake: Intake, now: datetime) -> NewRequest:
    request = submission.request
    due = max(now, request.send_at or now)
    return NewRequest(
        message_id=request.message_id,
        digest=sha256(request.model_dump_json(exclude_defaults=True).encode() + submission.app.encode()).digest(),
        app=submission.app,
        message=Message(submission.body, now, request),
        traceparent=submission.traceparent,
        lane=submission.lane,
        deliveries=[
            NewDelivery(each.address, each.domain, intake.keyring.address_key(each.address))
            for each in request.recipients
        ],
        due_at=due,
        expires_at=due + timedelta(seconds=request.expires_after),
        park_unknown=request.on_unknown == "park",
        overrides=request.override_suppression is not None,
        accepted=_accepted(submission, intake.settings, now),
    )


def _accepted(submission: Submission, settings: SenderSettings, now: datetime) -> list[AnyEvent]:
    request = submission.request
    tracking = request.tracking(settings.track_opens)
    recipients, subject_line = request.recipients, request.subject_line
    return [
        event(
            "sender",
            request.message_id,
            number,
            Accepted(
                recipient=recipient.address,
                recipient_count=len(recipients),
                sender=request.from_,
                subject_line=subject_line,
                rfc_message_id=rfc_message_id(request.message_id, settings.bounce_domain),
                app=submission.app,
                reference=request.reference,
                tags=request.tags,
                metadata=request.metadata,
                track_opens=tracking,
                has_html=request.html is not None,
                size=len(submission.body),
                override_suppression=request.override_suppression,
            ),
            time=now,
            traceparent=submission.traceparent,
        )
        for number, recipient in enumerate(recipients)
    ]


def _conflict() -> Problem:
    detail = "this message_id was taken before with other content; make a new id for a new message"
    return Problem(code="conflict", title="The message_id is taken", status=409, detail=detail)


async def _tell(publisher: Publisher, submission: Submission, bounce_domain: str) -> None:
    message_id = submission.request.message_id
    body = to_json({"message_id": message_id, "rfc_message_id": rfc_message_id(message_id, bounce_domain)})
    await answer(publisher, submission.reply_to, submission.correlation_id, body, "application/json")
