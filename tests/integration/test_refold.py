"""A refold against a real PostgreSQL: told beforehand, gone on with after a kill, right while events come in."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from status_store import housekeeping, record, refold, standing
from status_store.fold import RULES_VERSION, fold, to_json
from status_store.refold import Asked, applied, rehearsed, walked
from status_store.rollup import rollup
from status_store.store import NEW_RUN, Refolding, Run, Store, work
from status_store.tally import BESIDE_STATUS, MOST_EXAMPLES, Tally, table
from tests.conftest import KEYRING, eventually
from tracepost import partitions, postgres
from tracepost.events import Accepted, AnyEvent, Bounced, Data, Delivered, Erased, Opened, Withdrawn, event

START = datetime.now(UTC) - timedelta(hours=1)
TABLES = ("events", "messages", "deliveries", "change_marks", "changes", "feed", "refolds", "migrations")
READ = Opened(verdict="person", rule="x", client="Thunderbird", ip="192.0.2.0/24")
DELIVERED = Delivered(origin="smtp", response="250 ok")
HARD = Bounced(bounce_class="hard", category="invalid_recipient", origin="dsn", diagnostic="550 5.1.1")
ERASED = Erased(by="x", address_key="4f2a")

FEW, ALL = Asked("outdated", 7), Asked("all", 7)
CIRCLES = 10

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with postgres.connected(database, "status_store") as pool:
        store = Store(pool, retention=1, keyring=KEYRING)
        await partitions.keep(pool, housekeeping.TABLES, store.months)
        yield store


@pytest.fixture
async def tables(database: str, store: Store) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


def accepted(number: int, count: int) -> Accepted:
    return Accepted(
        recipient=f"r{number}@example.test",
        recipient_count=count,
        sender="s@example.test",
        subject_line=f"Hello {number}",
        rfc_message_id="<x@example.test>",
        app="app",
        reference="ticket-1",
        tags=("a", "b"),
        metadata={"k": "v"},
        track_opens="full",
        has_html=True,
        size=1,
    )


def told(message_id: UUID, number: int, *said: Data) -> list[AnyEvent]:
    """What was said of a delivery, a minute after the other."""
    return [event("x", message_id, number, each, time=START + timedelta(minutes=n)) for n, each in enumerate(said)]


def circle() -> list[AnyEvent]:
    """Five messages with six deliveries."""
    opened, quiet, several, orphan, erased = (uuid7() for _ in range(5))
    return [
        *told(opened, 0, accepted(0, 1), DELIVERED, READ, READ),
        *told(quiet, 0, accepted(0, 1), DELIVERED),
        *told(several, 1, accepted(1, 2), DELIVERED, READ),
        *told(several, 0, accepted(0, 2), HARD),
        *told(orphan, 0, READ),
        *told(erased, 0, accepted(0, 1), READ, Withdrawn(by="x"), READ, ERASED),
    ]


# What the rules of before, which knew no readers, made of it.
DIFFERING = {
    "deliveries": {"delivered → read": 4 * CIRCLES},
    "messages": {"delivered → read": 3 * CIRCLES, BESIDE_STATUS["messages"]: CIRCLES},
}


@contextmanager
def rules_of_before() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (record, work):
            patch.setattr(module, "RULES_VERSION", RULES_VERSION - 1)
        patch.setattr(standing, "PRECEDENCE", tuple(row for row in standing.PRECEDENCE if row.status != "read"))
        yield


@pytest.fixture
async def old(store: Store) -> list[AnyEvent]:
    """The stored events that other rules have folded."""
    events = [each for _ in range(CIRCLES) for each in circle()]
    with rules_of_before():
        assert await record.record(store, events) == {}
    return events


async def dry(store: Store, asked: Asked = FEW) -> Tally:
    run = await walked(partial(rehearsed, store, asked), asyncio.Event())
    assert run.finished
    return run.tally


async def real(store: Store, asked: Asked = FEW) -> Tally:
    run = await walked(partial(applied, store, asked), asyncio.Event())
    assert run.finished
    return run.tally


def counts(tally: Tally) -> dict[str, dict[str, int]]:
    return {what: {kind: each.count for kind, each in kinds.items()} for what, kinds in tally.changes.items()}


NONE: dict[str, dict[str, int]] = {"deliveries": {}, "messages": {}}


async def rows(tables: Connection, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await tables.fetch(sql, *arguments)]


async def everything(tables: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, where it lies, and which transactions wrote or locked it."""
    sql = "SELECT tableoid, ctid::text, xmin::text, xmax::text, t::text FROM {} t ORDER BY 1, ctid"
    return {name: await rows(tables, sql.format(name)) for name in TABLES}


async def contents(tables: Connection) -> list[tuple[Any, ...]]:
    """What is known of messages and deliveries, without versions and times."""
    return await rows(
        tables,
        "SELECT message_id, recipient_no, rules_version, d.status, d.facts::text, m.status, m.rollup::text,"
        " recipient_count, described_by, app, reference, sender, subject, rfc_message_id, tags::text, metadata::text"
        " FROM messages m FULL JOIN deliveries d USING (message_id) ORDER BY 1, 2",
    )


async def versions(tables: Connection) -> dict[UUID, int]:
    return dict(await rows(tables, "SELECT message_id, version FROM messages"))


async def assert_folded(tables: Connection, events: Sequence[AnyEvent]) -> None:
    """What is stored is, byte for byte, what the pure fold makes of all events at once."""
    histories: defaultdict[UUID, defaultdict[int, list[AnyEvent]]] = defaultdict(lambda: defaultdict(list))
    for each in events:
        histories[each.message_id][each.recipient_no].append(each)
    stored = await rows(tables, "SELECT message_id, recipient_no, rules_version, status, facts FROM deliveries")
    found = {(id_, number): row for id_, number, *row in stored}
    assert len(found) == sum(map(len, histories.values()))
    told = {id_: row for id_, *row in await rows(tables, "SELECT message_id, status, rollup, subject FROM messages")}
    assert told.keys() == histories.keys()
    for id_, deliveries in histories.items():
        facts = {number: fold(history) for number, history in deliveries.items()}
        statuses = {number: standing.status(each).status for number, each in facts.items()}
        for number, delivery in facts.items():
            assert found[id_, number] == [RULES_VERSION, statuses[number], to_json(delivery)]
        first = facts[0].accepted
        said = next((e.data for e in deliveries[0] if first and e.id == first.event_id), None)
        count, subject = (said.recipient_count, said.subject_line) if isinstance(said, Accepted) else (0, None)
        rolled = rollup(statuses.values(), count)
        status, text, stored_subject = told[id_]
        assert (status, json.loads(text)["counts"]) == (rolled.status, rolled.counts)
        assert stored_subject == ("(erased)" if facts[0].erased else subject)


async def test_a_dry_run_tells_what_changes_and_writes_nothing(
    store: Store, tables: Connection, old: list[AnyEvent]
) -> None:
    before = await everything(tables)
    tally = await dry(store)
    assert await everything(tables) == before
    assert counts(tally) == DIFFERING
    assert (tally.looked_at, tally.messages, tally.deliveries) == (5 * CIRCLES, 5 * CIRCLES, 6 * CIRCLES)
    opened = sorted(each.subject for each in old if each.data == DELIVERED and each.recipient_no == 0)
    kind = tally.changes["deliveries"]["delivered → read"]
    assert len(kind.examples) == MOST_EXAMPLES
    for example in kind.examples:
        [row] = await rows(
            tables, "SELECT status FROM deliveries WHERE message_id || '/' || recipient_no = $1", example
        )
        assert row == ("delivered",)
    assert kind.examples[0] == opened[0]
    assert await dry(store, Asked("outdated", 1)) == await dry(store, Asked("outdated", 5000)) == tally


async def test_what_was_told_is_done_and_subscribers_hear_of_it(
    store: Store, tables: Connection, old: list[AnyEvent]
) -> None:
    while await store.number_changes(100) and await rows(tables, "SELECT FROM change_marks"):
        pass
    async with store.unpublished(100):
        pass
    announced, before = await dry(store), await versions(tables)
    assert await real(store) == announced
    await assert_folded(tables, old)
    after = await versions(tables)
    raised = {id_ for id_ in after if after[id_] == before[id_] + 1}
    assert len(raised) == 4 * CIRCLES
    assert all(after[id_] == before[id_] for id_ in after.keys() - raised)
    assert await store.number_changes(100)
    async with store.unpublished(100) as changes:
        assert {UUID(each.message_id): each.version for each in changes} == {id_: after[id_] for id_ in raised}
    assert counts(await dry(store, ALL)) == NONE


async def test_what_is_right_stays_untouched(store: Store, tables: Connection) -> None:
    events = [each for _ in range(CIRCLES) for each in circle()]
    random.Random(20261123).shuffle(events)
    for start in range(0, len(events), 9):
        await record.record(store, events[start : start + 9])
    before = await contents(tables), await versions(tables), await rows(tables, "SELECT mark FROM change_marks")
    few, every = await real(store, FEW), await real(store, ALL)
    assert counts(few) == counts(every) == NONE
    assert (few.looked_at, few.messages, every.looked_at, every.messages) == (50, 0, 50, 50)
    assert before == (
        await contents(tables),
        await versions(tables),
        await rows(tables, "SELECT mark FROM change_marks"),
    )


async def test_only_the_number_of_the_rules_changes_where_they_say_the_same(
    store: Store, tables: Connection, old: list[AnyEvent]
) -> None:
    await real(store)
    before = await versions(tables)
    await tables.execute("UPDATE deliveries SET rules_version = $1", RULES_VERSION - 1)
    tally = await real(store)
    assert (counts(tally), tally.deliveries) == (NONE, 6 * CIRCLES)
    assert await versions(tables) == before
    await assert_folded(tables, old)


DAMAGES = {
    "facts": (
        """UPDATE deliveries SET facts = '{"opens":{}}' WHERE status = 'read'""",
        {"deliveries": {"only the facts": 4 * CIRCLES}, "messages": {}},
        0,
    ),
    "facts that cannot be read": (
        "UPDATE deliveries SET facts = '[]' WHERE status = 'hard_bounce'",
        {"deliveries": {"only the facts": CIRCLES}, "messages": {}},
        0,
    ),
    "status of a delivery": (
        "UPDATE deliveries SET status = 'failed' WHERE status = 'hard_bounce'",
        {"deliveries": {"failed → hard_bounce": CIRCLES}, "messages": {}},
        0,
    ),
    "no delivery": (
        "DELETE FROM deliveries WHERE status = 'hard_bounce'",
        {"deliveries": {"missing → hard_bounce": CIRCLES}, "messages": {}},
        0,
    ),
    "status of a message": (
        "UPDATE messages SET status = 'failed' WHERE status = 'hard_bounce'",
        {"deliveries": {}, "messages": {"failed → hard_bounce": CIRCLES}},
        1,
    ),
    "roll-up": (
        "UPDATE messages SET rollup = '{}' WHERE status = 'read'",
        {"deliveries": {}, "messages": {BESIDE_STATUS["messages"]: 3 * CIRCLES}},
        1,
    ),
    "description": (
        "UPDATE messages SET subject = 'Other', metadata = '{}', described_by = 1 WHERE status = 'hard_bounce'",
        {"deliveries": {}, "messages": {BESIDE_STATUS["messages"]: CIRCLES}},
        0,
    ),
    "what subscribers know it by": (
        "UPDATE messages SET reference = NULL WHERE status = 'hard_bounce'",
        {"deliveries": {}, "messages": {BESIDE_STATUS["messages"]: CIRCLES}},
        1,
    ),
    "description of an orphan": (
        "UPDATE messages SET described_by = 0, app = 'other' WHERE described_by IS NULL",
        {"deliveries": {}, "messages": {BESIDE_STATUS["messages"]: CIRCLES}},
        1,
    ),
}


@pytest.mark.parametrize(("damage", "differing", "marks"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_what_was_damaged_is_told_and_repaired(
    store: Store,
    tables: Connection,
    old: list[AnyEvent],
    damage: str,
    differing: dict[str, dict[str, int]],
    marks: int,
) -> None:
    await real(store)
    await tables.execute("DELETE FROM change_marks")
    right, before = await contents(tables), await versions(tables)
    await tables.execute(damage)
    assert await contents(tables) != right
    assert counts(await dry(store, FEW)) == NONE
    assert counts(await dry(store, ALL)) == differing
    assert counts(await real(store, Asked("all", 5000))) == differing
    assert await contents(tables) == right
    after = await versions(tables)
    assert sum(after[id_] - before[id_] for id_ in after) == sum(
        n for kinds in differing.values() for n in kinds.values()
    )
    assert len(await rows(tables, "SELECT FROM change_marks")) == marks
    assert counts(await dry(store, ALL)) == NONE


DESCRIPTION = {
    "recipient_count": "7",
    "described_by": "7",
    "app": "'other'",
    "reference": "NULL",
    "sender": "'other'",
    "subject": "''",
    "rfc_message_id": "'other'",
    "tags": """'["a"]'""",
    "metadata": """'{"k": "w"}'""",
}


async def test_every_part_of_a_description_is_compared(store: Store, tables: Connection) -> None:
    await record.record(store, told(uuid7(), 0, accepted(0, 1)))
    right = await contents(tables)
    for column, wrong in DESCRIPTION.items():
        await tables.execute(f"UPDATE messages SET {column} = {wrong}")
        assert counts(await real(store, ALL)) == NONE | {"messages": {BESIDE_STATUS["messages"]: 1}}
        assert await contents(tables) == right


@asynccontextmanager
async def held(database: str, number: int, what: str = "messages") -> AsyncIterator[None]:
    """Keep a message or its deliveries locked: a refold that comes to it waits there, in the middle of a batch."""
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    sql = "WHERE message_id = (SELECT message_id FROM messages ORDER BY 1 LIMIT 1 OFFSET $1) FOR UPDATE"
    await connection.execute(f"SELECT FROM {what} {sql}", number)
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def waiting(tables: Connection) -> list[int]:
    """The processes of PostgreSQL that wait for a lock."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return [pid for (pid,) in await rows(tables, sql)]


async def stuck(tables: Connection) -> int:
    """The one that does, once it does."""
    [pid] = await eventually(partial(waiting, tables))
    return pid


async def released(tables: Connection) -> bool:
    """Whether no refold is known to PostgreSQL any more."""
    [(held,)] = await rows(
        tables,
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()",
    )
    return not held


async def done_so_far(tables: Connection) -> list[tuple[int, bool]]:
    """Of each refold how many messages it has looked at, and whether it is finished."""
    sql = "SELECT (tally->>'looked_at')::int, finished_at IS NOT NULL FROM refolds ORDER BY id"
    return [(looked_at, finished) for looked_at, finished in await rows(tables, sql)]


async def test_cancelled_in_a_batch_it_goes_on_where_it_was(
    store: Store, tables: Connection, database: str, old: list[AnyEvent]
) -> None:
    announced = await dry(store)
    async with held(database, 30):
        task = asyncio.create_task(real(store))
        await stuck(tables)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await done_so_far(tables) == [(28, False)]
    part = await dry(store, ALL)
    assert 0 < sum(counts(part)["deliveries"].values()) < 4 * CIRCLES
    assert await real(store) == announced
    assert await done_so_far(tables) == [(50, True)]
    await assert_folded(tables, old)


async def test_stopped_after_any_batch_and_gone_on_with_it_reports_the_whole(
    store: Store, tables: Connection, old: list[AnyEvent]
) -> None:
    announced = await dry(store)
    for looked_at in (0, 7, 14, 21, 28, 35, 42, 49):
        async with aclosing(applied(store, FEW, NEW_RUN)) as runs:
            run = await anext(runs)
            assert run.tally.looked_at == looked_at
            assert not (await anext(runs)).finished or looked_at == 49
    assert await done_so_far(tables) == [(50, True)]
    [(text,)] = await rows(tables, "SELECT tally FROM refolds")
    assert json.loads(text)["changes"]["deliveries"]["delivered → read"]["count"] == 4 * CIRCLES
    await assert_folded(tables, old)
    assert await real(store) == Tally(looked_at=50)
    assert await done_so_far(tables) == [(50, True), (50, True)]
    assert counts(announced) == DIFFERING


async def test_the_stop_is_between_batches(store: Store, tables: Connection, old: list[AnyEvent]) -> None:
    stop = asyncio.Event()

    async def after_two(run: Run) -> AsyncGenerator[Run, None]:
        async with aclosing(applied(store, FEW, run)) as runs:
            async for each in runs:
                if each.tally.looked_at == 14:
                    stop.set()
                yield each

    run = await walked(after_two, stop)
    assert (run.finished, run.tally.looked_at) == (False, 14)
    assert await done_so_far(tables) == [(14, False)]


async def test_a_lost_connection_is_made_again(
    store: Store, tables: Connection, database: str, old: list[AnyEvent]
) -> None:
    announced = await dry(store)
    async with held(database, 30):
        task = asyncio.create_task(real(store))
        assert await tables.fetchval("SELECT pg_terminate_backend($1)", await stuck(tables))
        await stuck(tables)  # again, with a new connection
    assert await task == announced
    assert await done_so_far(tables) == [(50, True)]
    await assert_folded(tables, old)


async def test_what_is_wrong_for_ever_is_not_tried_again(store: Store, tables: Connection, old: list[AnyEvent]) -> None:
    await tables.execute("""UPDATE events SET body = '{"type": "tracepost.read.v9"}' WHERE type = 'bounced'""")
    with pytest.raises(ValueError, match=r"tracepost\.read\.v9"):
        await dry(store)


async def test_what_cannot_be_encoded_is_not_tried_again_either() -> None:
    class Unencodable(asyncpg.InterfaceError, ValueError):
        pass

    async def walk(run: Run) -> AsyncGenerator[Run, None]:
        yield run
        raise Unencodable("x")

    with pytest.raises(Unencodable):
        await walked(walk, asyncio.Event())


async def test_of_two_the_second_says_that_one_is_running(
    store: Store, tables: Connection, database: str, token_keys: str, old: list[AnyEvent]
) -> None:
    async with held(database, 30):
        first = asyncio.create_task(real(store))
        await stuck(tables)
        with pytest.raises(Refolding):
            await real(store, ALL)
        code, output = await command(database, token_keys)
        assert (code, "another refold is running" in output) == (os.EX_TEMPFAIL, True)
        assert counts(await dry(store, ALL)) != NONE  # which disturbs nobody
    await first
    await assert_folded(tables, old)


async def test_beside_the_running_service_both_come_to_the_pure_fold(store: Store, tables: Connection) -> None:
    events = [each for _ in range(3 * CIRCLES) for each in circle()]
    chance = random.Random(20261123)
    chance.shuffle(events)
    with rules_of_before():
        for start in range(0, len(events) // 3, 20):
            await record.record(store, events[start : start + 20])
    copies = events * 2
    chance.shuffle(copies)
    batches = [copies[start : start + 6] for start in range(0, len(copies), 6)]
    walks = 0

    async def recording(share: list[list[AnyEvent]]) -> None:
        while walks < 2:  # one of each kind
            for batch in share:
                assert await record.record(store, batch) == {}

    async def refolding() -> None:
        nonlocal walks
        for asked in cycle((Asked("outdated", 4), Asked("all", 4))):
            async with aclosing(applied(store, asked, NEW_RUN)) as runs:
                async for run in runs:
                    walks += run.finished

    beside = asyncio.create_task(refolding())
    recorders = asyncio.gather(*(recording(batches[start::3]) for start in range(3)))
    await asyncio.wait((beside, recorders), return_when=asyncio.FIRST_COMPLETED)  # an error of either ends both
    beside.cancel()  # and nothing that it had done wrong is repaired by its next round
    with pytest.raises(asyncio.CancelledError):
        await beside
    await recorders
    assert len(await rows(tables, "SELECT FROM deliveries WHERE rules_version <> $1", RULES_VERSION)) == 0
    await assert_folded(tables, events)
    assert counts(await dry(store, ALL)) == NONE


async def test_who_adds_to_what_a_batch_has_read_waits_for_it(
    store: Store, tables: Connection, database: str, old: list[AnyEvent]
) -> None:
    [(id_,)] = await rows(tables, "SELECT message_id FROM messages ORDER BY 1 LIMIT 1 OFFSET 4")
    late = told(id_, 0, HARD)

    async def both_wait() -> bool:
        return recording.done() or len(await waiting(tables)) == 2

    async with held(database, 5, "deliveries"):
        refolding = asyncio.create_task(real(store))
        await stuck(tables)  # when it has read, and writes
        recording = asyncio.create_task(record.record(store, late))
        await eventually(both_wait)
    await asyncio.gather(refolding, recording)
    await assert_folded(tables, old + late)


async def test_a_batch_reads_what_was_added_while_it_waited(
    store: Store, tables: Connection, database: str, old: list[AnyEvent]
) -> None:
    [(id_,)] = await rows(tables, "SELECT message_id FROM messages ORDER BY 1 LIMIT 1 OFFSET 4")
    late = told(id_, 0, HARD)

    async def both_wait() -> bool:
        return len(await waiting(tables)) == 2

    async with held(database, 4):
        recording = asyncio.create_task(record.record(store, late))
        await stuck(tables)
        refolding = asyncio.create_task(real(store))  # which comes after it
        await eventually(both_wait)
    await asyncio.gather(refolding, recording)
    await assert_folded(tables, old + late)


async def start(database: str, token_keys: str, *arguments: str) -> asyncio.subprocess.Process:
    own = {"TRACEPOST_TOKEN_KEYS": token_keys, "TRACEPOST_STATUS_STORE_DATABASE_URL": database}
    pipe = asyncio.subprocess.PIPE
    command = sys.executable, "-m", "status_store.refold", *arguments
    return await asyncio.create_subprocess_exec(*command, env=os.environ | own, stdout=pipe, stderr=pipe)


async def command(database: str, token_keys: str, *arguments: str) -> tuple[int | None, str]:
    """Its exit code, and all that it wrote."""
    process = await start(database, token_keys, *arguments)
    output, errors = await process.communicate()
    return process.returncode, (output + errors).decode()


async def test_a_killed_process_is_gone_on_with_by_the_next(
    store: Store, tables: Connection, database: str, token_keys: str, old: list[AnyEvent]
) -> None:
    announced = await dry(store)
    async with held(database, 30):
        process = await start(database, token_keys, "--batch", "7")
        await stuck(tables)
        process.kill()
        await process.communicate()
    await eventually(partial(released, tables))
    assert await done_so_far(tables) == [(28, False)]
    code, output = await command(database, token_keys, "--batch", "1")
    assert (code, await done_so_far(tables)) == (os.EX_OK, [(50, True)])
    assert output.endswith(f"{table(announced)}\nDone.\n")
    assert '"going on"' in output
    assert '"refolding"' in output
    await assert_folded(tables, old)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_after_the_batch_in_hand(
    store: Store, tables: Connection, database: str, token_keys: str, old: list[AnyEvent], number: signal.Signals
) -> None:
    async with held(database, 30):
        process = await start(database, token_keys, "--batch", "7")
        await stuck(tables)
        process.send_signal(number)
        assert process.stdout
        await process.stdout.readuntil(number.name.encode())
    output, _ = await process.communicate()
    assert process.returncode == os.EX_TEMPFAIL
    assert "started again, it goes on from there" in output.decode()
    assert await done_so_far(tables) == [(35, False)]
    assert counts(await real(store)) == DIFFERING


async def test_the_command_prints_the_table_and_writes_nothing_dry(
    store: Store, tables: Connection, database: str, token_keys: str, old: list[AnyEvent]
) -> None:
    before = await everything(tables)
    code, output = await command(database, token_keys, "--dry-run", "--all")
    assert (code, await everything(tables)) == (os.EX_OK, before)
    assert output == f"{table(await dry(store))}\nNothing was written.\n"
    assert counts(await real(store)) == DIFFERING
    code, output = await command(database, token_keys, "--all")
    assert (code, output) == (os.EX_OK, f"{table(await dry(store, ALL))}\nDone.\n")


async def test_a_dry_run_does_not_migrate(database: str, token_keys: str) -> None:
    code, output = await command(database, token_keys, "--dry-run")
    assert (code, "001_status.sql" in output) == (os.EX_UNAVAILABLE, True)
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT to_regclass('migrations')") is None
    await connection.close()


async def test_what_it_was_told_wrong_is_said(token_keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = await command("nowhere", token_keys)
    assert (code, "TRACEPOST_STATUS_STORE_DATABASE_URL" in output) == (os.EX_CONFIG, True)
    code, output = await command("postgresql://127.0.0.1:1/x", token_keys, "--dry-run")
    assert (code, "PostgreSQL cannot be used" in output) == (os.EX_UNAVAILABLE, True)
    with pytest.raises(SystemExit):
        refold.command(["--batch", "0"])
    assert "it is 1 to 5000" in capsys.readouterr().err
