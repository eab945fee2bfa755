"""One attempt to its recorded end: compose, speak SMTP, look once more before the final dot, record the outcome."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from sender import smtp, watch
from sender.compose import Prepared, prepare
from sender.copies import feedback_id, links
from sender.dkim import Unsigned
from sender.echoes import Provider
from sender.exchanges import Exchanges
from sender.outcome import (
    Attempt,
    Expired,
    Lost,
    Outcome,
    Result,
    Suppressed,
    Unroutable,
    Unsendable,
    decide,
    is_final,
)
from sender.pacing import Felt, felt
from sender.routing.hops import Hop
from sender.routing.routes import Routes
from sender.settings import SenderSettings
from sender.store import Leased, Message, Queue, Settlement
from tracepost import clock, crash, metrics, requests
from tracepost.addresses import parse
from tracepost.batches import Batches
from tracepost.dkim_keys import of_sender
from tracepost.events import Bounced, Deferred, Delivered, Rejected, event
from tracepost.requests import SendRequest
from tracepost.runner import background
from tracepost.tokens import Keyring

if TYPE_CHECKING:
    from tracepost.dkim_private import Key

log = structlog.get_logger()

# Of the time in doubt: in this the final dot may be sent, what is left is for its way and the reply.
DOT_SHARE = 1 / 3

SPREAD = 0.9, 1.1  # of the wait for the next attempt


@dataclass(frozen=True, slots=True)
class Sending:
    """What attempts are made with."""

    queue: Queue
    keyring: Keyring
    pool: smtp.Pool
    routes: Routes
    exchanges: Exchanges
    settings: SenderSettings
    dkim: Mapping[str, Sequence[Key]]
    signatures: Batches[Unsigned, bytes]
    looks: Batches[tuple[str, str], Rejected | None]
    doubts: Batches[Leased, bool]
    settlements: Batches[Settlement, bool]
    recorded: asyncio.Event  # set when an outcome waits in the outbox

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs, what gathers is worked at."""
        async with (
            background(self.signatures.run()),
            background(self.looks.run()),
            background(self.doubts.run()),
            background(self.settlements.run()),
        ):
            yield


async def attempt(work: Sending, leased: Leased) -> Felt:
    """Make it, from the look at the suppression list to the recorded outcome; answers what the destination was like."""
    started = time.monotonic()
    crash.point("sender.leased")
    result = await _result(work, leased)
    if result is not None:
        await _record(work, leased, result)
    metrics.SMTP_SECONDS.observe(time.monotonic() - started)
    is_relayed = work.routes.to(leased.destination) is not None
    return felt(result, relayed=is_relayed) if result is not None else "other"


async def _result(work: Sending, leased: Leased) -> Result | None:
    """What became of the attempt; None when it is no longer ours."""
    if leased.in_doubt:
        return Lost("no reply to the final dot was recorded", leased.destination, ours=True)
    if datetime.now(UTC) > leased.expires_at:
        return Expired()
    if leased.suppressed:
        return Suppressed(leased.suppressed)
    hops = await _hops(work, leased.destination)
    if isinstance(hops, Unroutable):
        return hops
    try:
        envelope, message = await _copy(work, leased)
    except Exception as error:  # whatever it is, the next attempt would meet it again
        log.exception("cannot compose", message_id=leased.message_id)
        return Unsendable(repr(error))
    # Those that begin together are composed one right after the other, before any of them speaks: the same code and
    # data at a time in the processor's caches, which saves a tenth of the whole.
    await asyncio.sleep(0)
    try:
        async with work.pool.transaction(hops) as transaction:
            await transaction.envelope(envelope)
            crash.point("sender.before-doubt")
            # Who stalls for longer finds the delivery taken over: a fence guards the row, but not the socket.
            deadline = clock.now() + work.settings.doubt_seconds * DOT_SHARE
            if await work.doubts.do(leased):
                crash.point("sender.in-doubt")
                return await transaction.message(message, deadline)
    except smtp.Failed as error:
        return error.result
    # The last look said no: suppressed meanwhile, or cancelled, or taken over by another sender.
    return await _suppressed(work, leased)


async def _hops(work: Sending, destination: str) -> Sequence[Hop] | Unroutable:
    relays = work.routes.to(destination)
    return relays.order() if relays else await work.exchanges.to(destination)


async def _suppressed(work: Sending, leased: Leased) -> Suppressed | None:
    evidence = None if leased.overrides else await work.looks.do((leased.address_key, leased.app))
    return Suppressed(evidence) if evidence else None


@lru_cache(8)  # the copies of one message are often made one after the other
def _prepared(message: Message, app: str, sender_id: str, echo: Provider | None) -> tuple[SendRequest, Prepared]:
    request = message.request or requests.stored(message.body)
    return request, prepare(request, message.accepted_at, feedback_id(request, app, sender_id), echo)


async def _copy(work: Sending, leased: Leased) -> tuple[smtp.Envelope, bytes]:
    """The recipient's own return path and message, signed."""
    settings = work.settings
    request, prepared = _prepared(leased.message, leased.app, settings.feedback_id, settings.provider)
    own = links(
        work.keyring,
        leased.message_id,
        leased.recipient_no,
        leased.recipient,
        request.tracking(settings.track_opens),
        settings.bounce_domain,
        settings.pixel_url,
    )
    message = await _signed(work, prepared.copy(own), parse(request.from_).domain)
    return_path = f"{own.return_token}@{settings.bounce_domain}"
    eight_bit = not message.isascii()
    return smtp.Envelope(return_path, leased.recipient, len(message), prepared.utf8, eight_bit), message


async def _signed(work: Sending, message: bytes, domain: str) -> bytes:
    now = datetime.now(UTC)
    keys = of_sender(work.dkim, domain, now)
    return await work.signatures.do(Unsigned(message, keys, now)) if keys else message


async def _record(work: Sending, leased: Leased, result: Result) -> None:
    now = datetime.now(UTC)
    made = Attempt(
        number=leased.attempt,
        expires_at=leased.expires_at,
        outcome_unknown=leased.outcome_unknown,
        park_unknown=leased.park_unknown,
        retry_minutes=work.settings.retry_minutes,
        spread=random.uniform(*SPREAD),  # noqa: S311 - no secret
        said=leased.said,
    )
    outcome = decide(result, made, now)
    told = event(
        "sender", leased.message_id, leased.recipient_no, outcome.data, time=now, traceparent=leased.traceparent
    )
    if await work.settlements.do(Settlement(leased, outcome, told, is_final(result))):
        crash.point("sender.settled")
        work.recorded.set()
        _tell(leased, outcome, told.name)
        # Of all else the events come back, with those of returned mail: see feedback.
        if isinstance(outcome.data, Delivered):
            watch.count(work.settings.watched_domains, leased.destination, outcome.data)


def _tell(leased: Leased, outcome: Outcome, name: str) -> None:
    cause = outcome.data.bounce_class if isinstance(outcome.data, Bounced | Deferred) else "none"
    metrics.ATTEMPTS.labels(name, cause).inc()
    log.info("attempt", message_id=leased.message_id, attempt=leased.attempt, outcome=name, bounce_class=cause)
