"""Makes safe what was learnt, before anybody is answered: an event is confirmed by the broker, all else is held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bounce_ingest.quarantine.values import Held
from tracepost import crash
from tracepost.events import AnyEvent

Publish = Callable[[AnyEvent], Awaitable[None]]
Keep = Callable[[Held], Awaitable[None]]


async def make_safe(publish: Publish, keep: Keep, told: Sequence[AnyEvent | Held]) -> None:
    """Return when all is safe, else raise what kept one from it: nothing goes on behind an answer."""
    crash.point("bounce-ingest.before-publish")
    works = [keep(each) if isinstance(each, Held) else publish(each) for each in told]
    if len(works) == 1:  # nearly always: no task is made for it
        await works[0]
    else:
        for error in filter(None, await asyncio.gather(*works, return_exceptions=True)):
            raise error
    crash.point("bounce-ingest.confirmed")
