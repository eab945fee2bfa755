"""`python -m status_store.refold`: folds the stored events again, by the present rules, while the service runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Literal, NamedTuple

import structlog

from status_store.counters import Counted, moved, summed, to_text
from status_store.fold import RULES_VERSION, Delivery, fold, to_json
from status_store.rollup import ISSUES, Description, by_message, descriptions, rolled_up
from status_store.settings import StatusStoreSettings
from status_store.standing import Status, applying
from status_store.store import NEW_RUN, Differing, Key, MessageId, NewState, Refolding, Run, Store, Stored, Work
from status_store.tally import Found, table
from status_store.terms import Term, terms
from tracepost import logs, postgres
from tracepost.broker.session import pause
from tracepost.events import AnyEvent
from tracepost.runner import Unavailable, configured, on_signals

log = structlog.get_logger()

BATCH, MOST_IN_BATCH = 500, 5000
TELL_EVERY = 20  # batches

WAITS: tuple[type[Exception], ...] = (*postgres.TRANSIENT, Refolding)


class Asked(NamedTuple):
    """Which messages, those of which other rules folded a delivery or all, and how many in a transaction."""

    scope: Literal["outdated", "all"] = "outdated"
    batch: int = BATCH


Walk = Callable[[Run], AsyncGenerator[Run, None]]
Folded = tuple[Delivery, Status]


class Again(NamedTuple):
    """How many were folded again, what of them is stored otherwise, and what is to be written therefore.

    By which terms they are found, and which are issues, is written of all: an earlier version may not have known it.
    """

    messages: int = 0
    deliveries: int = 0
    found: Sequence[Found] = ()
    put: Mapping[Key, Folded] = {}
    rewrite: Mapping[MessageId, NewState] = {}
    mark: Sequence[MessageId] = ()
    terms: Sequence[Term] = ()
    issues: Mapping[MessageId, Status] = {}
    counts: str | None = None


async def rehearsed(store: Store, asked: Asked, run: Run) -> AsyncGenerator[Run, None]:
    """Go on from there in batches, writing nothing."""
    async with store.snapshot() as work:
        last = await _last(work, run)
    while not run.finished:
        async with store.snapshot() as work:
            ids = await work.messages_after(run.position, last, asked.batch)
            again = await _folded_again(store, work, await _chosen(work, ids, asked))
        run = _moved(run, ids, asked, again)
        yield run


async def applied(store: Store, asked: Asked, run: Run) -> AsyncGenerator[Run, None]:
    """Go on from where the run is stored to be, a batch in each transaction; Refolding while another is at it."""
    async with store.refolding() as transaction:
        async with transaction() as work:
            run = await work.resume_refold(run.id, asked.scope)
            last = await _last(work, run)
        if run.tally.looked_at:
            log.info("going on", position=run.position, looked_at=run.tally.looked_at)
        yield run
        while not run.finished:
            async with transaction() as work:
                ids = await work.messages_after(run.position, last, asked.batch)
                chosen = await _chosen(work, ids, asked)
                # Whoever adds to what is read here waits until it is written; a month may have been dropped before.
                again = await _folded_again(store, work, sorted(await work.lock(chosen)) if chosen else [])
                await _write(work, again)
                run = _moved(run, ids, asked, again)
                await work.advance_refold(run)
            yield run


async def _last(work: Work, run: Run) -> MessageId:
    # What comes later is folded by the present rules; who went after it as well might never be done.
    return await work.newest_message() or run.position


async def _chosen(work: Work, ids: Sequence[MessageId], asked: Asked) -> Sequence[MessageId]:
    return await work.outdated(ids) if ids and asked.scope == "outdated" else ids


def _moved(run: Run, ids: Sequence[MessageId], asked: Asked, again: Again) -> Run:
    tally = run.tally.plus(len(ids), again.messages, again.deliveries, again.found)
    return Run(run.id, ids[-1] if ids else run.position, tally, len(ids) < asked.batch)


async def _folded_again(store: Store, work: Work, ids: Sequence[MessageId]) -> Again:
    """Each message whole, since its roll-up and its description are those of all its deliveries."""
    if not ids:
        return Again()
    stored, events = await work.stored_deliveries(ids), await work.stored_events(ids)
    folded = {key: _folded(events.get(key, ())) for key in sorted({*stored, *events})}
    now = {key: Stored(RULES_VERSION, status, to_json(delivery)) for key, (delivery, status) in folded.items()}
    put = {key: folded[key] for key in folded if stored.get(key) != now[key]}
    changed = {key: stored.get(key) for key in put if key not in stored or stored[key][1:] != now[key][1:]}
    described = descriptions(events, {key: delivery for key, (delivery, _) in folded.items()})
    states = _states(ids, described, folded)
    differing = await work.differing_messages(states)
    # A message's version tells of its deliveries too: its status may stay while what is shown of them changes.
    rewrite = {id_: states[id_] for id_ in sorted({*differing, *(id_ for id_, _ in changed)})}
    mark = [id_ for id_, each in differing.items() if each.told]
    return Again(
        len(ids),
        len(folded),
        _found(changed, folded, differing, states),
        put,
        rewrite,
        mark,
        terms(events, {key: delivery for key, (delivery, _) in folded.items()}, described, store.keyring.address_key),
        {id_: state.status for id_, state in states.items() if state.status in ISSUES},
        to_text(summed(_counts(differing, states))),
    )


def _counts(
    differing: Mapping[MessageId, Differing], states: Mapping[MessageId, NewState]
) -> Iterator[tuple[Counted, int]]:
    for id_, before in differing.items():
        yield from moved(id_, before.place, states[id_].place(None))


def _folded(events: Sequence[AnyEvent]) -> Folded:
    delivery = fold(events)
    return delivery, applying(delivery)[0].status


def _states(
    ids: Sequence[MessageId], described: Mapping[MessageId, Description], folded: Mapping[Key, Folded]
) -> dict[MessageId, NewState]:
    statuses = by_message({key: status for key, (_, status) in folded.items()})
    states = {}
    for id_ in ids:
        said = described.get(id_)
        count = said.accepted.recipient_count if said else 0
        states[id_] = NewState(*rolled_up(tuple(sorted(statuses.get(id_, ()))), count), False, said)
    return states


def _found(
    changed: Mapping[Key, Stored | None],
    folded: Mapping[Key, Folded],
    differing: Mapping[MessageId, Differing],
    states: Mapping[MessageId, NewState],
) -> list[Found]:
    deliveries = [
        Found("deliveries", f"{id_}/{number}", before and before.status, folded[id_, number][1])
        for (id_, number), before in changed.items()
    ]
    messages = [Found("messages", id_, before.status, states[id_].status) for id_, before in sorted(differing.items())]
    return deliveries + messages


async def _write(work: Work, again: Again) -> None:
    if again.put:
        await work.put_deliveries(again.put)
    await work.put_messages(again.rewrite)
    await work.put_terms(again.terms)
    await work.put_issues(again.issues)
    await work.end_issues([id_ for id_, new in again.rewrite.items() if new.status not in ISSUES])
    await work.mark_changed(again.mark, again.counts)


async def walked(walk: Walk, stop: asyncio.Event) -> Run:
    """Go to the end, or on to the next batch's end after `stop`; what passes is waited out, with growing pauses."""
    run, failures, batches = NEW_RUN, 0, 0
    while not (run.finished or stop.is_set()):
        try:
            async with aclosing(walk(run)) as runs:
                async for each in runs:
                    failures = failures if each.position == run.position else 0
                    run, batches = each, batches + 1
                    if batches % TELL_EVERY == 0:
                        log.info("refolding", position=run.position, looked_at=run.tally.looked_at)
                    if stop.is_set():
                        break
        except WAITS as error:
            if _stays(error, run):
                raise
            failures += 1
            log.warning("refold waits", failures=failures, reason=repr(error))
            await _rest(pause(failures), stop)
    return run


async def _rest(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _stays(error: Exception, run: Run) -> bool:
    # Once it had run, the lock that it misses is that of its own lost connection, which the server will notice.
    if isinstance(error, Refolding):
        return run.id is None
    # What cannot be encoded, now or ever, is for asyncpg of the same class as a lost connection.
    return isinstance(error, ValueError)


def main() -> None:
    """The whole of the command."""
    sys.exit(command(sys.argv[1:]))


def command(argv: Sequence[str]) -> int:
    """Refold with the settings of the service; returns the exit code."""
    options = _parser().parse_args(argv)
    if (settings := configured(StatusStoreSettings)) is None:
        return os.EX_CONFIG
    logs.configure(settings.service, settings.log_level)
    return asyncio.run(_run(settings, Asked("all" if options.all else "outdated", options.batch), options.dry_run))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m status_store.refold", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="write nothing, and print what would change")
    parser.add_argument("--all", action="store_true", help="everything, and not only what other rules folded")
    parser.add_argument("--batch", type=_size, default=BATCH, help=f"messages in a transaction ({BATCH})")
    return parser


def _size(text: str) -> int:
    if not 1 <= int(text) <= MOST_IN_BATCH:
        raise argparse.ArgumentTypeError(f"it is 1 to {MOST_IN_BATCH}")
    return int(text)


async def _run(settings: StatusStoreSettings, asked: Asked, dry: bool) -> int:
    url, stop = settings.database_url.get_secret_value(), on_signals()
    migrate = settings.migrate and not dry
    try:
        async with postgres.connected(url, "status_store", migrate=migrate, size=1) as pool:
            store = Store(pool, settings.retention_months, settings.keyring())
            run = await walked(partial(rehearsed if dry else applied, store, asked), stop)
    except Unavailable as error:
        log.error("cannot start", reason=str(error))
        return os.EX_UNAVAILABLE
    except Refolding:
        log.error("another refold is running", remedy="wait for it, or stop it: its progress is kept")
        return os.EX_TEMPFAIL
    except Exception:
        log.exception("failed")
        return 1
    print(_report(run, dry))  # noqa: T201 - it is what was asked for
    return os.EX_OK if run.finished else os.EX_TEMPFAIL


def _report(run: Run, dry: bool) -> str:
    if dry:
        end = "Nothing was written." if run.finished else f"Nothing was written; stopped at {run.position}."
    else:
        end = "Done." if run.finished else f"Stopped at {run.position}: started again, it goes on from there."
    return f"{table(run.tally)}\n{end}"


if __name__ == "__main__":
    main()
