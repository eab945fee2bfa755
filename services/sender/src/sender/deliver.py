"""Sends what is due: lease, compose, speak SMTP, record the outcome."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from sender import smtp
from sender.compose import compose
from sender.copies import links
from sender.outcome import Attempt, Expired, Lost, Result, Suppressed, Unsendable, decide
from sender.settings import SenderSettings
from sender.store import Leased, Queue
from tracepost import crash, metrics, postgres, requests
from tracepost.events import Bounced, Deferred, event
from tracepost.tokens import Keyring

log = structlog.get_logger()

POLL_SECONDS = 1.0
# A normal-lane request never waits for a bulk run: bulk may fill this share of the slots.
BULK_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Sending:
    """What an attempt needs."""

    queue: Queue
    keyring: Keyring
    relay: smtp.Relay
    settings: SenderSettings
    recorded: asyncio.Event  # set when an outcome waits in the outbox


@asynccontextmanager
async def sending(work: Sending, arrived: asyncio.Event) -> AsyncIterator[None]:
    """Send what is due until the block ends, then finish the attempts that run."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_lease_and_send(work, arrived, stopping))
        try:
            yield
        finally:
            log.info("finishing attempts")
            stopping.set()
            arrived.set()


async def _lease_and_send(work: Sending, arrived: asyncio.Event, stopping: asyncio.Event) -> None:
    running: set[asyncio.Task[None]] = set()

    def done(task: asyncio.Task[None]) -> None:
        running.discard(task)
        arrived.set()

    async with asyncio.TaskGroup() as group:
        while not stopping.is_set():
            arrived.clear()
            for leased in await _due(work, work.settings.concurrency - len(running)):
                task = group.create_task(_attempt(work, leased))
                running.add(task)
                task.add_done_callback(done)
            await _any_of(arrived, POLL_SECONDS)


async def _due(work: Sending, free: int) -> list[Leased]:
    try:
        urgent = await work.queue.lease("normal", free)
        bulk = await work.queue.lease("bulk", int((free - len(urgent)) * BULK_SHARE))
    except postgres.TRANSIENT as error:
        log.warning("cannot lease", reason=repr(error))
        return []
    return urgent + bulk


async def _any_of(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _attempt(work: Sending, leased: Leased) -> None:
    """One attempt to its recorded end; what fails here is found again when the lease runs out."""
    started = time.monotonic()
    crash.point("sender.leased")
    try:
        result = await _result(work, leased)
        if result is not None:
            await _record(work, leased, result)
    except postgres.TRANSIENT as error:
        log.warning("attempt not recorded", message_id=leased.message_id, reason=repr(error))
    except Exception:
        log.exception("attempt failed", message_id=leased.message_id, attempt=leased.attempt)
    metrics.SMTP_SECONDS.observe(time.monotonic() - started)


async def _result(work: Sending, leased: Leased) -> Result | None:
    """What became of the attempt; None when it is no longer ours."""
    if leased.in_doubt:
        return Lost("the sender stopped between the final dot and the reply", work.relay.host)
    if datetime.now(UTC) > leased.expires_at:
        return Expired()
    address_key = work.keyring.address_key(leased.recipient)
    if evidence := await work.queue.suppression(address_key):
        return Suppressed(evidence)
    try:
        return_path, message = _copy(work, leased)
    except Exception as error:  # whatever it is, the next attempt would meet it again
        log.exception("cannot compose", message_id=leased.message_id)
        return Unsendable(repr(error))
    try:
        async with smtp.transaction(work.relay) as session:
            await session.envelope(return_path, leased.recipient)
            crash.point("sender.before-doubt")
            if not await work.queue.doubt(leased, address_key):
                evidence = await work.queue.suppression(address_key)
                return Suppressed(evidence) if evidence else None
            crash.point("sender.in-doubt")
            return await session.message(message)
    except smtp.Failed as error:
        return error.result


def _copy(work: Sending, leased: Leased) -> tuple[str, bytes]:
    """The recipient's own return path and message."""
    request, settings = requests.stored(leased.body), work.settings
    own = links(
        work.keyring,
        leased.message_id,
        leased.recipient_no,
        leased.recipient,
        request.track_opens or settings.track_opens,
        settings.bounce_domain,
        settings.pixel_url,
    )
    return f"{own.return_token}@{settings.bounce_domain}", compose(request, own, leased.accepted_at)


async def _record(work: Sending, leased: Leased, result: Result) -> None:
    now = datetime.now(UTC)
    attempt = Attempt(
        number=leased.attempt,
        expires_at=leased.expires_at,
        outcome_unknown=leased.outcome_unknown,
        park_unknown=leased.park_unknown,
        retry_minutes=work.settings.retry_minutes,
        spread=random.uniform(0.9, 1.1),  # noqa: S311 - no secret
    )
    outcome = decide(result, attempt, now)
    told = event(
        "sender", leased.message_id, leased.recipient_no, outcome.data, time=now, traceparent=leased.traceparent
    )
    if await work.queue.settle(leased, outcome, told):
        crash.point("sender.settled")
        work.recorded.set()
        cause = outcome.data.bounce_class if isinstance(outcome.data, Bounced | Deferred) else "none"
        metrics.ATTEMPTS.labels(told.name, cause).inc()
        log.info("attempt", message_id=leased.message_id, attempt=leased.attempt, outcome=told.name, bounce_class=cause)
