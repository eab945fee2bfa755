"""The whole stack as a user runs it: every behaviour reaches its status, and whatever stands still is named."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from rich.console import Console
from uuid_utils.compat import uuid4, uuid7

from local_stack.demo import CASES, demo
from local_stack.stack import SERVICES, Stack
from tests.conftest import ROOT, eventually
from tests.e2e.asking import answered, has_status, mailbox, query, request, sent, suppressed, timeline

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def told(stack: Stack, **options: Any) -> tuple[int, str]:
    """The demo's exit code and what it printed."""
    console = Console(file=io.StringIO(), width=200)
    code = await demo(stack, console, once=True, **options)
    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue()


async def test_every_behaviour_reaches_its_status(stack: Stack) -> None:
    code, printed = await told(stack)
    assert code == 0, printed
    assert printed.count("Delivery issue: hard bounce") >= 2
    assert f"curl -s {stack.query_url}/messages/" in printed


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_that_stands_still_fails_the_demo_and_is_named(stack: Stack, service: str) -> None:
    os.kill(stack.processes[service].pid, signal.SIGSTOP)
    try:
        code, printed = await told(stack, deadline=2)
    finally:
        os.kill(stack.processes[service].pid, signal.SIGCONT)
    assert code == 1
    assert f"{service} gives no answer" in printed
    named = [other for other in SERVICES if f"  {other} " in printed]
    assert named == [service]


async def test_the_stack_recovers_once_the_services_go_on(stack: Stack) -> None:
    code, printed = await told(stack)
    assert code == 0, printed


async def test_bad_requests_are_told_every_fault_and_the_next_is_unharmed(stack: Stack) -> None:
    good = request()
    bad: list[tuple[bytes, set[str]]] = [
        (b"{no JSON", {""}),
        (b'"a string"', {""}),
        (json.dumps(request(subject=7, to="not-a-list")).encode(), {"/subject", "/to"}),
        (json.dumps(request(subjekt="Hello", tags=[1])).encode(), {"/subjekt", "/tags/0"}),
        (json.dumps(request(message_id=str(uuid4()))).encode(), {"/message_id"}),
        (json.dumps(request(message_id="0188f2b5-0000-7000-8000-000000000000")).encode(), {"/message_id"}),
        (json.dumps(request(text=None, to=[], **{"from": "nobody"})).encode(), {"/from", ""}),
        (json.dumps(request(subject="=?utf-8?q?a=0D=0ABcc:_x@y.test?=")).encode(), {"/subject"}),
    ]
    *problems, taken = await answered(stack, *(body for body, _ in bad), json.dumps(good).encode())
    for problem, (body, pointers) in zip(problems, bad, strict=True):
        assert problem["code"] == "invalid-request", body
        assert {fault["pointer"] for fault in problem["errors"]} == pointers, body
        assert all(fault["detail"] for fault in problem["errors"])
    assert taken["message_id"] == good["message_id"]
    assert taken["rfc_message_id"].startswith(f"<{good['message_id']}@")
    await eventually(lambda: has_status(stack, good["message_id"], "delivered"))


async def test_a_repeated_request_is_sent_once_and_a_changed_one_is_a_conflict(stack: Stack) -> None:
    good = request()
    first, again, changed = await answered(
        stack, *(json.dumps(each).encode() for each in (good, good, good | {"text": "Changed"}))
    )
    assert first == again
    assert changed["code"] == "conflict"
    await eventually(lambda: has_status(stack, good["message_id"], "delivered"))
    events = await query(stack, f"messages/{good['message_id']}/events")
    assert [each["type"].split(".")[1] for each in events["events"]] == ["accepted", "delivered"]


async def test_lists_are_paged_by_key_and_filtered(stack: Stack) -> None:
    page = await query(stack, f"messages?reference=demo-{CASES[0].behaviour}&limit=1")
    assert page["messages"][0]["reference"] == "demo-delivered"
    rest = await query(stack, f"messages?reference=demo-{CASES[0].behaviour}&cursor={page['cursor']}")
    assert page["messages"][0]["message_id"] not in {each["message_id"] for each in rest["messages"]}
    assert (await query(stack, "messages?colour=red"))["errors"][0]["pointer"] == "/colour"
    assert (await query(stack, "messages/no-uuid"))["code"] == "invalid-id"
    assert (await query(stack, f"messages/{uuid7()}"))["code"] == "unknown-message"


async def test_status_changes_are_published_with_rising_versions(stack: Stack) -> None:
    async with (
        await aio_pika.connect(stack.servers.broker.amqp_url) as connection,
        connection.channel() as channel,
    ):
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("tracepost.status", "#")
        good = request(to=["read+e2e@simulator.test"], text=None, html="<p>Hello</p>")
        await answered(stack, json.dumps(good).encode())
        found: list[dict[str, Any]] = []

        async def read() -> bool:
            if message := await queue.get(no_ack=True, fail=False):
                body = json.loads(message.body)
                events = body if isinstance(body, list) else [body]
                found.extend(each for each in events if each["subject"] == good["message_id"])
            return bool(found) and found[-1]["data"]["status"] == "read"

        await eventually(read)
    versions = [each["data"]["version"] for each in found]
    assert versions == sorted(set(versions))


def names(events: list[dict[str, Any]]) -> list[str]:
    return [each["type"].split(".")[1] for each in events]


async def test_a_report_that_comes_twice_is_one_event(stack: Stack) -> None:
    message_id, recipient = await sent(stack, "returned-twice", "hard_bounce")

    async def both_taken() -> bool:
        return len((await mailbox(stack, recipient))["reactions"]) == 2

    await eventually(both_taken)
    await sent(stack, "returned", "hard_bounce")  # whatever was published before it is in the store too
    assert names(await timeline(stack, message_id, 3)).count("bounced") == 1


@pytest.mark.parametrize(("behaviour", "copies"), [("dies-before", 1), ("dies-after", 2)])
async def test_a_connection_that_dies_leaves_the_outcome_unknown(stack: Stack, behaviour: str, copies: int) -> None:
    message_id, recipient = await sent(stack, behaviour, "delivered")
    events = await timeline(stack, message_id, 3)
    assert names(events) == ["accepted", "deferred", "delivered"]
    assert events[1]["data"]["outcome_unknown"] is True
    mails = (await mailbox(stack, recipient))["mails"]
    assert [each["rfc_message_id"].split("@")[0] for each in mails] == [f"<{message_id}"] * copies


async def test_every_attempt_is_in_the_timeline(stack: Stack) -> None:
    message_id, _ = await sent(stack, "deferred-twice", "delivered")
    accepted, *attempts = await timeline(stack, message_id, 4)
    assert names([accepted]) == ["accepted"]
    assert names(attempts) == ["deferred", "deferred", "delivered"]
    assert [each["data"]["attempt"] for each in attempts] == [1, 2, 3]


@pytest.mark.parametrize(
    ("behaviour", "status", "length"),
    [("blames-us", "failed", 2), ("forwarded-dead", "failed", 3), ("not-spam", "delivered", 4)],
)
async def test_what_says_nothing_of_the_recipient_suppresses_nobody(
    stack: Stack, behaviour: str, status: str, length: int
) -> None:
    message_id, recipient = await sent(stack, behaviour, status)
    await timeline(stack, message_id, length)
    _, dead = await sent(stack, "returned", "hard_bounce")
    await eventually(lambda: suppressed(stack, dead))  # so the sender has learnt of all that came before
    assert not await suppressed(stack, recipient)
    assert await has_status(stack, message_id, status)


async def test_a_privacy_proxy_is_a_note(stack: Stack) -> None:
    message_id, _ = await sent(stack, "prefetched", "delivered")
    await timeline(stack, message_id, 3)
    message = await query(stack, f"messages/{message_id}")
    assert message["deliveries"][0]["notes"] == ["opened by a privacy proxy"]
    assert message["status"] == "delivered"


async def run(folder: Path, until: str) -> tuple[asyncio.subprocess.Process, str]:
    """The command as a user gives it, once it has printed this."""
    command = [sys.executable, "-m", "local_stack", "demo", "--folder", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    printed = ""
    while until not in printed:
        line = await process.stdout.readline()
        assert line, printed
        printed += line.decode()
    return process, printed


async def test_ctrl_c_stops_all_that_was_started_and_the_next_start_works(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with spaces"
    process, _ = await run(folder, until="RabbitMQ")
    started = processes_in(folder)
    assert len(started) >= 2
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    await eventually(partial(all_gone, started))  # helpers of a server end a moment after it

    process, printed = await run(folder, until="Every message")
    started = processes_in(folder)
    assert len(started) >= 8
    [pid] = re.findall(r"pixel \(pid (\d+)", printed)
    os.kill(int(pid), signal.SIGKILL)
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert "pixel ended with exit code -9" in output.decode()
    await eventually(partial(all_gone, started))  # helpers of a server end a moment after it


async def all_gone(pids: list[int]) -> bool:
    return not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def processes_in(folder: Path) -> list[int]:
    """The processes whose standard output is a log in this folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if link.readlink().is_relative_to(folder):
                found.append(int(link.parts[2]))
        except OSError:
            continue
    return found
