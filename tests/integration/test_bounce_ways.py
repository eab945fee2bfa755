"""The other ways in: a pipe, Maildir, and several processes on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from bounce_ingest import maildir
from bounce_ingest.maildir import Maildir
from local_stack.processes import free_port
from tests.bouncing import DOMAIN, bounce, bouncing, published, return_path
from tests.conftest import eventually
from tests.faults.alone import alone
from tests.handing_in import Mail, crowd, some
from tests.proxy import proxied
from tests.running import TOKEN_KEYS
from tracepost.runner import background
from tracepost.tokens import Keyring

REPLACED = "tracepost_workers_replaced_total"
NOTE = b"Subject: Hello\r\n\r\nHow are you?\r\n"


async def pipe(mail: bytes, amqp: str, database: str, *addresses: str, **more: str) -> tuple[int, str]:
    """Its exit code, and what the mail server finds in its log."""
    told = {"AMQP_URL": amqp, "DATABASE_URL": database, "TOKEN_KEYS": TOKEN_KEYS, "BOUNCE_DOMAIN": DOMAIN, **more}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bounce_ingest", "pipe", *addresses),
        env={"PATH": os.defpath, **{f"TRACEPOST_{name}": value for name, value in told.items()}},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await child.communicate(mail)
    assert child.returncode is not None
    return child.returncode, said.decode()


async def test_a_pipe_ends_with_0_when_the_mail_is_safe_and_else_with_75(broker: str, database: str) -> None:
    named = uuid7()
    nowhere = "amqp://guest:guest@127.0.0.1:1/"
    async with bouncing(broker, database) as service:
        codes = await asyncio.gather(
            pipe(bounce(), broker, database, return_path(named)),
            pipe(NOTE, broker, database, f"abuse@{DOMAIN}"),
            pipe(bounce(), nowhere, database, return_path(named), CONFIRM_WITHIN="0.5"),
            pipe(bounce(), broker, database, return_path(named), TOKEN_KEYS="1:short"),
        )
        assert [code for code, _ in codes] == [0, 0, 75, 75]
        assert "not taken, try again" in codes[2][1]
        assert "TRACEPOST_TOKEN_KEYS" in codes[3][1]
        (held,) = await service.held()
        assert (held["way"], held["subject"]) == ("pipe", "Hello")
    assert {each.message_id for each in await published(broker, 1)} == {named}


async def test_a_maildir_is_emptied_when_what_is_in_it_is_safe(broker: str, database: str, tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    new, message_id = tmp_path / "new", uuid7()
    mail = b"X-Original-To: <" + return_path(message_id).encode() + b">\r\n" + bounce()
    (new / "1.a.host").write_bytes(mail)
    (new / "2.b.host").write_bytes(NOTE)
    (new / "3.c.host").symlink_to(tmp_path / "none")  # no mail: stays
    (tmp_path / "tmp" / "4.d.host").write_bytes(NOTE)  # not there yet

    async def emptied() -> bool:
        return {each.name for each in new.iterdir()} == {"3.c.host"}

    async with (
        proxied(broker) as (url, rabbitmq),
        bouncing(url, database, maildirs=[tmp_path], confirm_within=0.5) as service,
    ):
        check = service.checks[f"maildir {tmp_path}"]
        await eventually(emptied)
        (held,) = await service.held()
        assert (held["way"], held["reason"]) == ("maildir", "not_understood")
        rabbitmq.answering.clear()
        (new / "5.e.host").write_bytes(mail)

        async def waits() -> bool:
            return "5.e.host" in (await check() or "")

        await eventually(waits)
        assert (new / "5.e.host").read_bytes() == mail
        rabbitmq.answering.set()
        await eventually(emptied)
        assert await check() is None
    assert {each.message_id for each in await published(broker, 2)} == {message_id}


async def test_a_mail_that_cannot_be_taken_in_for_good_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maildir, "AT_ONCE", 2)
    (tmp_path / "new").mkdir()
    bad = {"1.bad", "2.bad", "3.bad"}
    for name in (*bad, "9.good"):
        (tmp_path / "new" / name).write_text(name)
    taken: list[bytes] = []

    async def take(mail: bytes) -> None:
        if mail.endswith(b"bad"):
            raise ZeroDivisionError
        taken.append(mail)

    async def alone() -> bool:
        return {each.name for each in (tmp_path / "new").iterdir()} == bad

    async with background(Maildir(tmp_path, 1_000, take, ()).watch()):
        await eventually(alone)
    assert taken == [b"9.good"]


async def test_a_maildir_that_is_not_there_is_told(broker: str, database: str, tmp_path: Path) -> None:
    async with bouncing(broker, database, maildirs=[tmp_path / "none"]) as service:
        assert "cannot be read" in str(await eventually(service.checks[f"maildir {tmp_path / 'none'}"]))


async def test_workers_share_the_ports_and_one_that_dies_is_replaced(
    broker: str, database: str, tmp_path: Path
) -> None:
    mails, taken, port = some(Keyring({1: bytes(32)}), 60), list[Mail](), free_port()  # the keys that `alone` has
    settings = {"smtp_port": str(port), "bounce_domain": DOMAIN, "workers": "2", "parsers": "2"}
    async with alone("bounce-ingest", tmp_path, broker, database, **settings) as running:
        await running.start()
        await running.until_ready()
        pid = running.processes[0].pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        workers = children.read_text().split()
        assert len(workers) == 2
        await crowd(port, mails[:30], 10, taken.append)
        os.kill(int(workers[0]), signal.SIGKILL)
        await crowd(port, mails[30:], 10, taken.append)

        async def replaced() -> bool:
            now = children.read_text().split()
            return len(now) == 2 and now != workers and await running.metric(REPLACED) == 1

        await eventually(replaced)
    assert {each.message_id for each in await published(broker, 60)} == {mail.message_id for mail in mails}
