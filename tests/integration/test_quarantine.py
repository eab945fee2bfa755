"""The quarantine on a real database: what it keeps, what people decide about it, what is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from bounce_ingest.quarantine import housekeeping
from bounce_ingest.quarantine.store import NotKept, Quarantine, quarantining
from bounce_ingest.quarantine.values import Bounds, Held
from tests.bouncing import DOMAIN, SHOP, Bouncing, bounce, bouncing, complaint, published, return_path
from tests.conftest import KEYRING, eventually
from tracepost import metrics, postgres
from tracepost.broker import publishing
from tracepost.events import Bounced, Complained, Data, Erased, event

WIDE = Bounds(1_000, 1 << 30, 90)
ABUSE = f"abuse@{DOMAIN}"
STRANGE = b"Subject: Hello\r\nTo: Ann <ann@example.test>\r\n\r\nHow are you?\r\n"


@asynccontextmanager
async def store(database: str, within: float = 10) -> AsyncIterator[tuple[Quarantine, postgres.Pool]]:
    async with (
        postgres.connected(database, "bounce_ingest") as pool,
        quarantining(pool, KEYRING, within) as quarantine,
    ):
        yield quarantine, pool


def report(number: int, size: int = 10, reason: Any = "unplaced") -> Held:
    return Held(reason, "smtp", b"%09d." % number + b"x" * (size - 10))


async def contents(quarantine: Quarantine) -> list[bytes]:
    """The newest first."""
    entries = [await quarantine.get(each.id) for each in await quarantine.page(None, None, 500)]
    return [each.held.raw for each in entries if each]


async def test_what_is_kept_is_as_it_came_and_there_once(database: str) -> None:
    claim = KEYRING.verify("return-path", KEYRING.return_path(uuid7(), 7, "r@example.test"))
    odd = Held("untrusted", "webhook:ses", bytes(range(256)), "a", "Gr\0ße \ud800", "application/json", claim)
    async with store(database) as (quarantine, _):
        await asyncio.gather(*(quarantine.keep(each) for each in [odd, *map(report, range(50))] * 2))
        assert len(await quarantine.page(None, None, 500)) == 51
        (entry,) = await quarantine.page("untrusted", None, 500)
        assert entry.held.raw == b""
        entry = await quarantine.get(odd.id) or entry
        assert (entry.held.raw, entry.held.claim, entry.size > 256) == (odd.raw, claim, True)
        assert (entry.held.subject, entry.held.content_type) == ("Gr\ufffdße \ufffd", "application/json")
        pages, seen = [await quarantine.page("unplaced", None, 20)], 0
        while page := await quarantine.page("unplaced", pages[-1][-1].seq, 20):
            pages.append(page)
        seen = len({each.id for page in pages for each in page})
        assert ([len(page) for page in pages], seen) == ([20, 20, 10], 50)


async def test_the_oldest_go_beyond_the_bounds_and_are_counted(database: str) -> None:
    async with store(database) as (quarantine, pool):
        for number in range(20):
            await quarantine.keep(report(number, 100))
        dropped = metrics.QUARANTINE_DROPPED._value.get()
        await housekeeping.once(quarantine, WIDE._replace(rows=15))
        assert [raw[:9] for raw in await contents(quarantine)] == [b"%09d" % each for each in range(19, 4, -1)]
        await housekeeping.once(quarantine, WIDE._replace(size=999))
        assert len(await contents(quarantine)) == 9
        await pool.execute("UPDATE quarantine SET received_at = now() - interval '91 days' WHERE seq <= 13")
        await housekeeping.once(quarantine, WIDE)
        assert [raw[:9] for raw in await contents(quarantine)] == [b"%09d" % each for each in range(19, 12, -1)]
        assert metrics.QUARANTINE_DROPPED._value.get() - dropped == 13
        assert metrics.QUARANTINE.labels("unplaced")._value.get() == 7
        assert metrics.QUARANTINE_BYTES.labels("unplaced")._value.get() == 700


async def test_a_flood_is_bounded_before_the_next_minute(database: str) -> None:
    async with store(database) as (quarantine, _), asyncio.TaskGroup() as group:
        house = group.create_task(housekeeping.keep_house(quarantine, WIDE._replace(rows=20)))

        async def bounded() -> bool:
            return len(await quarantine.page(None, None, 500)) <= 25

        for start in range(0, 200, 50):
            await asyncio.gather(*(quarantine.keep(report(start + number)) for number in range(50)))
            await eventually(bounded)
        house.cancel()


async def test_who_cannot_be_kept_is_told(database: str) -> None:
    async with store(database, within=1) as (quarantine, pool):
        await pool.execute("ALTER TABLE quarantine RENAME TO away")
        with pytest.raises(Exception, match="quarantine"):
            await quarantine.keep(report(1))
        await pool.execute("ALTER TABLE away RENAME TO quarantine")
        pool.terminate()
        with pytest.raises(NotKept):
            await quarantine.keep(report(1))


async def told(service: Bouncing, count: int = 1) -> Sequence[Data]:
    return [each.data for each in await published(service.broker, count)]


async def test_people_look_and_decide(broker: str, database: str) -> None:
    message_id = uuid7()
    async with bouncing(broker, database) as service:
        await service.send(STRANGE, return_path(message_id))
        await service.send(complaint(), ABUSE)
        await service.send(bounce(), ABUSE)
        bounced, complained, strange = await service.held()
        assert (strange["reason"], strange["detail"], strange["subject"]) == ("not_understood", "no_report", "Hello")
        assert (strange["about"], strange["way"]) == (f"{message_id}/0", "smtp")
        assert strange["size"] > len(STRANGE)  # the keys by which it is found count too
        first = await service.ask("GET", "/quarantine", limit=2)
        assert [each["id"] for each in first["reports"]] == [bounced["id"], complained["id"]]
        assert (await service.held(limit=2, cursor=first["cursor"])) == [strange]
        assert (await service.held(reason="not_understood")) == [strange]
        shown = await service.ask("GET", f"/quarantine/{strange['id']}")
        assert shown == {**strange, "raw": STRANGE.decode(), "raw_is_cut": False}
        counts = (await service.ask("GET", "/quarantine/counts"))["counts"]
        assert {each["reason"]: each["rows"] for each in counts} == {"unplaced": 2, "not_understood": 1}
        # By hand.
        said = {"event": "bounced", "message_id": str(message_id), "recipient_no": 3, "bounce_class": "hard"}
        for wrong, pointer in (({"recipient_no": 256}, "recipient_no"), ({"category": "nonsense"}, "category")):
            status, problem = await service.answer("POST", f"/quarantine/{bounced['id']}/classify", said | wrong)
            assert (status, problem["errors"][0]["pointer"].rpartition("/")[2]) == (422, pointer)
        answer = await service.ask("POST", f"/quarantine/{bounced['id']}/classify", said)
        assert answer["events"][0]["subject"] == f"{message_id}/3"
        said = {"event": "complained", "message_id": str(message_id), "recipient_no": 0}
        await service.ask("POST", f"/quarantine/{complained['id']}/classify", said)
        hand, abuse = await told(service, 2)
        assert isinstance(hand, Bounced)
        assert (hand.certainty, hand.origin, hand.rule) == ("candidate", "api", "by-hand")
        assert isinstance(abuse, Complained)
        assert abuse.certainty == "candidate"
        # What is as it was stays, and what is dropped goes.
        released = await service.ask("POST", f"/quarantine/{strange['id']}/release")
        assert released == {"result": "held", "reason": "not_understood", "detail": "no_report"}
        await service.ask("DELETE", f"/quarantine/{strange['id']}")
        assert await service.held() == []
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/release"), ("GET", "/raw")):
            status, problem = await service.answer(method, f"/quarantine/{strange['id']}{path}")
            assert (status, problem["code"]) == (404, "unknown-report")
        assert (await service.answer("GET", "/quarantine/x"))[0] == 404
        # Reports may be anybody's: a client of one app has no business here.
        for key, status in ((SHOP, 403), ("tp_none", 401)):
            assert (await service.answer("GET", "/quarantine", key=key))[0] == status
            assert (await service.answer("POST", "/quarantine/run-again", {}, key=key))[0] == status


async def test_a_new_rule_tells_what_was_held(broker: str, database: str) -> None:
    paths = [return_path(uuid7()) for _ in range(5)]
    claims = [KEYRING.verify("return-path", KEYRING.return_path(uuid7(), 0, "r@example.test")) for _ in paths]
    async with bouncing(broker, database) as service, store(database) as (quarantine, _):
        # As if these had come before a rule for them was there.
        for claim in claims:
            await quarantine.keep(Held("not_understood", "maildir", bounce(), "no_report", claim=claim))
        await service.send(STRANGE, paths[0])
        stranger = Held("unplaced", "elsewhere", b"{}", content_type="application/json")
        await quarantine.keep(stranger)
        answers = [await service.ask("POST", "/quarantine/run-again", {"limit": 4})]
        while cursor := answers[-1]["cursor"]:
            answers.append(await service.ask("POST", "/quarantine/run-again", {"limit": 4, "cursor": cursor}))
        assert [(each["looked_at"], each["told"]) for each in answers] == [(4, 2), (3, 3)]
        assert [each["way"] for each in await service.held()] == ["elsewhere", "smtp"]
        assert (await service.answer("POST", f"/quarantine/{stranger.id}/release"))[0] == 409
        found = await published(broker, 5)
    assert {each.message_id for each in found} == {claim.message_id for claim in claims if claim}


def erased(address: str) -> Erased:
    return Erased(by="ann", address_key=KEYRING.address_key(address))


async def test_what_is_about_the_erased_is_forgotten_now_and_when_it_comes_later(broker: str, database: str) -> None:
    gone, other = uuid7(), uuid7()
    async with bouncing(broker, database) as service, publishing(broker) as publisher:
        await service.send(STRANGE, ABUSE)
        await service.send(b"Subject: By its delivery\r\n\r\nx\r\n", return_path(gone))
        await service.send(b"Subject: Of others\r\n\r\nbob@example.test\r\n", return_path(other))
        await publisher.publish(event("status-store", gone, 0, erased("Ann@example.test")))

        async def forgotten() -> bool:
            return [each["subject"] for each in await service.held()] == ["Of others", "", ""]

        await eventually(forgotten)
        await service.send(b"Subject: Late\r\nTo: ann@example.test\r\n\r\nx\r\n", ABUSE)
        late, others, by_delivery, first = await service.held()
        for each in (late, by_delivery, first):
            assert (each["subject"], each["size"], bool(each["erased_at"])) == ("", 0, True)
            assert (await service.ask("GET", f"/quarantine/{each['id']}"))["raw"] == ""
            assert (await service.answer("POST", f"/quarantine/{each['id']}/release"))[0] == 409
        assert (await service.ask("GET", f"/quarantine/{others['id']}"))["raw"]
        assert (await service.ask("POST", "/quarantine/run-again", {}))["told"] == 0
    async with store(database) as (quarantine, pool):
        # One that came between the two statements of an erasure is found by the next housekeeping.
        await pool.execute("TRUNCATE erasures")
        await quarantine.keep(Held("unplaced", "smtp", b"bob@example.test"))
        key = KEYRING.address_key("bob@example.test")
        await pool.execute("INSERT INTO erasures VALUES ($1, $2)", key, datetime.now(UTC))
        await housekeeping.once(quarantine, WIDE)
        assert all(each.erased_at for each in await quarantine.page(None, None, 10))
        await pool.execute("UPDATE erasures SET learnt_at = $1", datetime.now(UTC) - timedelta(91))
        await housekeeping.once(quarantine, WIDE)
        assert await pool.fetchval("SELECT count(*) FROM erasures") == 0
