"""Takes one mail in: when that returns, what it says is safe, as confirmed events or in quarantine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from bounce_ingest.parsers.values import NoParser, Unparsed
from bounce_ingest.placing import kind, place
from bounce_ingest.quarantine.store import Quarantine
from bounce_ingest.quarantine.values import Entry, Held
from bounce_ingest.report import Report
from bounce_ingest.safe import make_safe
from tracepost import metrics
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import AnyEvent
from tracepost.tokens import Claim, Keyring

log = structlog.get_logger()

Parse = Callable[[bytes], Awaitable[Report | Unparsed]]

# Nothing is known to be safe, and the same mail again does no harm.
TRY_AGAIN: tuple[type[Exception], ...] = (NotConfirmed, Unroutable, NoParser)


@dataclass(frozen=True, slots=True)
class Receiving:
    """What it takes to take a mail in."""

    parse: Parse
    publisher: Publisher
    quarantine: Quarantine
    keyring: Keyring

    async def receive(self, way: str, claim: Claim | None, mail: bytes) -> None:
        """Return when all that the mail says is safe; one of TRY_AGAIN if it is not.

        `claim` is the return path's; without one, the returned message itself may tell which delivery it is about.
        """
        report = await self.parse(mail)
        said = place(report, mail, way, claim, self.keyring)
        told = [said] if isinstance(said, Held) else said
        await make_safe(self.publisher.publish, self.quarantine.keep, told)
        _count(way, report, said)

    async def read_again(self, entry: Entry) -> Sequence[AnyEvent] | Held:
        """What a mail in quarantine says by the rules of now."""
        held = entry.held
        return place(await self.parse(held.raw), held.raw, held.way, held.claim, self.keyring)


def _count(way: str, report: Report | Unparsed, said: Sequence[AnyEvent] | Held) -> None:
    if isinstance(said, Held):
        metrics.REPORTS.labels(kind(report), said.reason.replace("_", "-")).inc()
        log.info("report held", way=way, kind=kind(report), reason=said.reason, detail=said.detail, id=said.id)
        return
    metrics.REPORTS.labels(kind(report), "told" if said else "nothing-told").inc()
    about = said[0].subject if said else None
    log.info("report", way=way, kind=kind(report), subject=about, told=[each.name for each in said])
