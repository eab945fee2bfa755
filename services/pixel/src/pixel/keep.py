"""Makes opens safe: at the broker, or where that takes too long in the spool, from which they go there later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from pixel.spool import Spool, Taken
from tracepost import crash
from tracepost.broker import NotConfirmed, Publisher, Unroutable

log = structlog.get_logger()

KEY = "opened"
PAUSE = 1.0  # between looks at the spool
DRAIN_SECONDS = 30.0  # nobody waits for these confirms
AT_ONCE = 500  # events; so what comes in meanwhile waits for one message more at most


def keep(publisher: Publisher, spool: Spool, open_: bytes, safe: Callable[[], None]) -> None:
    """Call `safe` when the broker has confirmed the event or, at the publisher's time limit, the spool holds it."""
    crash.point("pixel.before-publish")
    if publisher.session.fault:
        spool.append(open_, safe)
    else:
        publisher.submit(open_, KEY, partial(_published, spool, open_, safe))


def _published(spool: Spool, open_: bytes, safe: Callable[[], None], error: Exception | None) -> None:
    if error is None:
        crash.point("pixel.confirmed")
        safe()
    else:
        spool.append(open_, safe)


async def drain(publisher: Publisher, spool: Spool) -> None:
    """Publish what is in the spool whenever the broker is there; runs for ever."""
    while True:
        try:
            while not publisher.session.fault and (taken := await spool.take()):
                await _drain(publisher, spool, taken)
        except (NotConfirmed, Unroutable, OSError) as error:
            log.warning("the spool cannot be drained", reason=str(error))
        await asyncio.sleep(PAUSE)


async def _drain(publisher: Publisher, spool: Spool, taken: Taken) -> None:
    """Publish a file, and remove it; if not all is confirmed, all is published again some day, with the same ids."""
    done = False
    try:
        for start in range(0, len(taken.bodies), AT_ONCE):
            await _publish(publisher, taken.bodies[start : start + AT_ONCE])
        done = True
    finally:
        if not done:
            spool.give_back(taken)
    await spool.remove(taken)
    log.info("spool file drained", file=taken.path.name, opens=len(taken.bodies))


async def _publish(publisher: Publisher, bodies: Sequence[bytes]) -> None:
    publishing = [publisher.publish_encoded(body, KEY, timeout=DRAIN_SECONDS) for body in bodies]
    for result in await asyncio.gather(*publishing, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
