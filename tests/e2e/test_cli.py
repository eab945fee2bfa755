"""The command line against the running stack: what it tells people and programs, its exit codes, what it changes."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from uuid_utils.compat import uuid4, uuid7

from local_stack.stack import Stack
from tests.conftest import eventually
from tests.e2e.asking import answered, has_status, request, sent, suppressed
from tracepost.cli.app import app

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def environment(stack: Stack) -> dict[str, str]:
    return stack.environment | {
        "TRACEPOST_AMQP_URL": stack.servers.broker.amqp_url,
        "TRACEPOST_AMQP_MANAGEMENT_URL": stack.servers.broker.management_url,
        "TRACEPOST_API_URL": stack.query_url,
        "TRACEPOST_SENDER_URL": stack.sender_url,
        "COLUMNS": "200",
    }


async def run(stack: Stack, *argv: str, given: str | None = None) -> Result:
    """In a thread, for a command has a loop of its own."""
    env = environment(stack)
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, argv, input=given, env=env))


async def told(stack: Stack, *argv: str, code: int = 0, given: str | None = None) -> Any:
    """What the command says in JSON."""
    result = await run(stack, *argv, "--json", given=given)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def address(behaviour: str) -> str:
    return f"{behaviour}+{uuid4().hex}@simulator.test"


async def test_a_message_is_sent_and_followed_from_its_status_to_the_reason(stack: Stack) -> None:
    to, reference = [address("read"), address("unknown-user")], secrets.token_hex(8)
    argv = ("send", "--from", "support@tracepost.test", "--to", to[0], "--to", to[1], "--reference", reference)
    made = await told(stack, *argv, "--subject", "Hello", "--html", "<p>Hello</p>", "--until", "hard_bounce", code=1)
    assert (made["status"], made["is_issue"]) == ("hard_bounce", True)
    id_ = made["message_id"]
    shown = await run(stack, "status", id_)
    assert shown.exit_code == 1
    assert "Delivery issue: hard bounce" in shown.output
    assert to[1] in shown.output
    [found] = (await told(stack, "find", "--recipient", to[1]))["messages"]
    assert (found["message_id"], found["reference"]) == (id_, reference)
    assert reference in (await run(stack, "find", "--reference", reference)).output
    events = await told(stack, "events", id_)
    assert {each["type"].split(".")[1] for each in events["events"]} >= {"accepted", "bounced"}
    assert "5.1.1" in (await run(stack, "events", id_)).output
    [why] = (await told(stack, "why", id_, "--recipient", "1"))["deliveries"]
    assert why["why"]["deciding"]["name"] == "bounced"
    both = (await run(stack, "why", id_)).output
    assert "recipient 0" in both
    assert "User unknown" in both


async def test_a_whole_mail_on_standard_input_is_sent_to_whom_it_names(stack: Stack) -> None:
    to = address("delivered")
    mail = f"From: support@tracepost.test\nTo: Ann <{to}>\nMessage-ID: <x@example.org>\nSubject: Hello\n\nHello\n"
    result = await run(stack, "send", "--wait", "--json", given=mail)
    assert result.exit_code == 0, result.output
    assert "left out: Message-ID" in result.stderr
    shown = await told(stack, "status", json.loads(result.stdout)["message_id"])
    assert [each["recipient"] for each in shown["deliveries"]] == [to]
    assert shown["subject"] == "Hello"


async def test_a_request_in_a_file_is_sent_at_the_door_and_flags_add_to_it(stack: Stack, tmp_path: Path) -> None:
    file, id_ = tmp_path / "request.json", str(uuid7())
    file.write_text(json.dumps({"from": "support@tracepost.test", "to": [address("delivered")], "text": "Hello"}))
    argv = ("--amqp-url", "", "send", str(file), "--message-id", id_, "--tag", "cli", "--attach", str(file))
    assert (await told(stack, *argv))["message_id"] == id_
    assert (await told(stack, *argv))["message_id"] == id_
    watched = await run(stack, "watch", id_, "--until", "delivered", "--timeout", "20", "--json")
    assert watched.exit_code == 0, watched.output
    last = json.loads(watched.stdout.splitlines()[-1])
    assert (last["message_id"], last["status"]) == (id_, "delivered")
    assert (await told(stack, "status", id_))["tags"] == ["cli"]
    none = await run(stack, "watch", id_, "--until", "read", "--timeout", "0.2")
    assert none.exit_code == 1
    assert "delivered" in none.output
    missing = await run(stack, "status", str(uuid7()))
    assert missing.exit_code == 1
    assert missing.stderr.startswith("error: ")


async def test_changes_are_watched_from_a_cursor_by_a_program(stack: Stack) -> None:
    argv = (sys.executable, "-m", "tracepost.cli", "watch", "--json", "--cursor", "0")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, env=environment(stack), stdout=pipe, stderr=pipe)
    assert process.stdout
    try:
        id_, _ = await sent(stack, "delivered", "delivered")
        async for line in process.stdout:
            change = json.loads(line)
            if (change["message_id"], change["status"]) == (id_, "delivered"):
                break
        assert change["cursor"]
    finally:
        process.terminate()
        await process.communicate()


async def test_operators_hold_the_queue(stack: Stack) -> None:
    domain = f"{secrets.token_hex(4)}.test"
    message = request(to=[f"ann@{domain}", f"bob@{domain}"], send_at=LATER)
    await answered(stack, json.dumps(message).encode())
    id_, why = message["message_id"], ("--reason", "a mistake")
    assert (await told(stack, "queue", "pause", domain, *why))["result"] == "paused"
    assert (await told(stack, "queue", "pause", domain, *why))["result"] == "paused_before"
    shown = (await run(stack, "queue", "show")).output
    assert domain in shown
    assert "by local: a mistake" in shown
    listed = await told(stack, "queue", "list", "--destination", domain, "--limit", "1")
    assert len(listed["deliveries"]) == 1
    assert listed["cursor"]
    both = await told(stack, "queue", "list", "--destination", domain)
    assert {each["recipient_no"] for each in both["deliveries"]} == {0, 1}
    results = (await told(stack, "queue", "retry", id_, *why))["recipients"]
    assert [(each["recipient_no"], each["result"]) for each in results] == [(0, "ready"), (1, "ready")]
    [given_up] = (await told(stack, "queue", "give-up", id_, "--recipient", "1", *why))["recipients"]
    assert given_up["result"] == "given_up"
    cancelled = (await told(stack, "queue", "cancel", id_, *why))["recipients"]
    assert [each["result"] for each in cancelled] == ["cancelled", "done_before"]
    assert "done" in (await run(stack, "queue", "message", id_)).output
    assert "resumed" in (await run(stack, "queue", "resume", domain, *why)).output
    whats = {each["what"] for each in (await told(stack, "queue", "decisions"))["decisions"]}
    assert whats >= {"pause", "retry", "give-up", "cancel", "resume"}


async def test_suppressions_are_added_lifted_imported_and_exported(stack: Stack, tmp_path: Path) -> None:
    ann, bob, cy = (address("delivered") for _ in range(3))
    shown = await told(stack, "suppressions", "add", ann, "--why", "she asked")
    assert shown["suppressions"][0]["evidence"]["why"] == "she asked"
    assert "not written to" in (await run(stack, "suppressions", "show", ann)).output
    file = tmp_path / "list.csv"
    file.write_text(f"address,why\n{bob},\n{cy},\nnobody,\n")
    bad = await told(stack, "suppressions", "import", str(file), code=1)
    assert [(each["line"], each["field"]) for each in bad["wrong"]] == [(4, "address")]
    assert not await suppressed(stack, bob)
    dry = await told(stack, "suppressions", "import", str(file), "--dry-run", code=1)
    assert [each["line"] for each in dry["added"]] == [2, 3]
    assert not await suppressed(stack, bob)
    await told(stack, "suppressions", "import", str(file), "--skip-bad", code=1)
    checked = await told(stack, "suppressions", "check", given=f"{ann}\n{bob}\n\nnew@example.org\n", code=1)
    assert [each["rejected"] for each in checked["addresses"]] == [True, True, False]
    exported = tmp_path / "all.csv"
    assert (await told(stack, "suppressions", "export", str(exported)))["lines"] == exported.read_text().count("\n")
    assert cy in exported.read_text()
    assert "already" in (await run(stack, "suppressions", "import", str(exported))).output
    lifted = await told(stack, "suppressions", "lift", ann, "--why", "she called")
    assert not lifted["suppressions"]
    again = await run(stack, "suppressions", "lift", ann, "--why", "she called")
    assert again.exit_code == 1
    assert "nothing keeps mail from this address" in again.stderr
    assert ann not in json.dumps(await told(stack, "suppressions", "list", "--limit", "2000"))


async def test_dead_letters_are_shown_replayed_and_dropped(stack: Stack) -> None:
    word = secrets.token_hex(8)
    [problem] = await answered(stack, json.dumps(request(subjekt=word)).encode())
    assert problem["code"] == "invalid-request"

    async def listed() -> list[dict[str, Any]]:
        found = await told(stack, "dead", "list", "--queue", "sender.requests.normal", "--code", "invalid-request")
        shown = [await told(stack, "dead", "show", each["id"]) for each in found["dead_letters"][:3]]
        return [each for each in shown if word in each["body"]]

    [letter] = [each["id"] for each in await eventually(listed)]
    assert "/subjekt" in (await run(stack, "dead", "show", letter)).output
    assert (await told(stack, "dead", "replay", letter, "--yes"))["done"] == 1
    assert (await told(stack, "dead", "show", letter))["replayed_at"]
    asked = await run(stack, "dead", "drop", letter, given="n\n")
    assert asked.exit_code == 1
    assert (await told(stack, "dead", "drop", letter, "--yes"))["done"] == 1
    assert (await run(stack, "dead", "show", letter)).exit_code == 1
    assert (await told(stack, "dead", "drop", "--all", "--queue", "no such", "--yes"))["done"] == 0


async def test_the_doctor_finds_a_running_stack_well(stack: Stack) -> None:
    async def every_queue_is_read() -> bool:  # of which RabbitMQ's statistics know some seconds later
        looked = await told(stack, "doctor", "broker")
        return "consumers" in {each["check"] for each in looked["findings"]}

    await eventually(every_queue_is_read)
    found = await told(stack, "doctor")
    assert found["counts"]["error"] == 0, found
    checks = {each["check"] for each in found["findings"]}
    assert checks >= {"settings of sender", "bindings", "policies", "consumers", "alarms"}
    assert checks >= {"migrations of the database of sender", "clock of the database of status-store"}
    shown = await run(stack, "topology", "check")
    assert shown.exit_code == 0
    assert "✓ bindings" in shown.output
    assert "queues are in place" in (await run(stack, "topology", "apply")).output
    assert "tracepost.requests" in (await run(stack, "topology", "show")).output


async def test_mail_programs_can_pipe_into_it(stack: Stack) -> None:
    to = address("delivered")
    mail = f"From: support@tracepost.test\nTo: {to}\nSubject: Hello\n\nHello\n"
    env = environment(stack) | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shell = await asyncio.create_subprocess_shell(
        "tracepost send --json", env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await shell.communicate(mail.encode())
    assert shell.returncode == 0
    await eventually(lambda: has_status(stack, json.loads(out)["message_id"], "delivered"))
