"""Clients in Python, Node and of curl against the running stack: send, be told of faults, send once, follow."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

import pytest
from uuid_utils.compat import uuid4, uuid7

from local_stack.processes import free_port
from local_stack.stack import HOST, Stack
from tests.conftest import ROOT
from tests.e2e.asking import mailbox
from tests.proxy import proxied
from tracepost.client import AsyncClient, Change, Client, Refused, Unanswered, Unconfirmed, Unreachable

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = ROOT / "docs" / "examples"
NODE = ROOT / ".local" / "examples" / "node"
NOWHERE = f"http://{HOST}:{free_port()}"


def address(behaviour: str = "delivered") -> str:
    return f"{behaviour}+{uuid4().hex}@simulator.test"


def message(to: str, **fields: object) -> dict[str, object]:
    return {"from": "support@tracepost.test", "to": [to], "subject": "Hello", "text": "Hello", **fields}


def client(stack: Stack, amqp_url: str | None = None, timeout: float = 30.0) -> AsyncClient:
    """Over AMQP, or for an empty URL at the sender's door."""
    amqp = stack.servers.broker.amqp_url if amqp_url is None else amqp_url
    return AsyncClient(amqp_url=amqp, api_url=stack.query_url, sender_url=stack.sender_url, timeout=timeout)


def environment(stack: Stack) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TRACEPOST_AMQP_URL": stack.servers.broker.amqp_url,
        "TRACEPOST_API_URL": stack.query_url.removesuffix("/v1"),
        "TRACEPOST_SENDER_URL": stack.sender_url.removesuffix("/v1"),
    }


async def printed(*argv: str | Path, env: Mapping[str, str]) -> str:
    """What a program prints that ends well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, argv), env=env, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode == 0, (out, err)
    return out.decode()


@pytest.fixture(scope="session")
def node() -> Path:
    """The example with the packages that it names."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing, which fetches amqplib; install it: sudo apt-get install npm")
    return NODE


async def installed(folder: Path) -> Path:
    wanted = (EXAMPLES / "node" / "package.json").read_text("utf-8")
    if not (folder / "node_modules").exists() or (folder / "package.json").read_text("utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(EXAMPLES / "node", folder)
        argv = ("npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        await printed(*argv, env=os.environ)
    shutil.copytree(EXAMPLES / "node", folder, dirs_exist_ok=True)
    return folder


async def test_the_examples_send_a_message_and_see_it_read(stack: Stack, node: Path) -> None:
    folder, env = await installed(node), environment(stack)
    programs: list[tuple[str | Path, ...]] = [
        (sys.executable, EXAMPLES / "python" / "send.py"),
        (sys.executable, EXAMPLES / "python" / "send_async.py"),
        ("node", folder / "send.mjs"),
        (EXAMPLES / "curl" / "send.sh",),
    ]
    *told, by_curl = await asyncio.gather(*(printed(*each, address("read"), env=env) for each in programs))
    assert [each.strip() for each in told] == ["Read"] * 3
    assert by_curl.split()[-1] == "read"
    UUID(by_curl.split()[0])


NODE_CHECK = """
import assert from 'node:assert';
import { Refused, Tracepost, stripPixels } from './tracepost.mjs';
const [to, id] = process.argv.slice(2);
const tracepost = new Tracepost();
const request = { message_id: id, from: 'support@tracepost.test', to: [to], text: 'Hello' };
const [first, again] = await Promise.all([tracepost.send(request), tracepost.send(request)]);
assert.deepStrictEqual(first, again);
assert.strictEqual(first.message_id, id);
const changed = tracepost.send({ ...request, text: 'Changed' });
await assert.rejects(changed, (error) => error.problem.code === 'conflict');
const nobody = tracepost.send({ ...request, to: ['nobody'] });
await assert.rejects(nobody, (error) => error instanceof Refused && error.problem.errors[0].pointer === '/to/0');
const found = await tracepost.waitFor(id, ['delivered']);
assert.strictEqual(found.deliveries[0].recipient, to);
await assert.rejects(tracepost.waitFor(id, ['read'], { within: 50 }));
const pixel = `<img alt="" src="https://t.example.org/o/${'A'.repeat(42)}.gif">`;
assert.strictEqual(stripPixels(`<p>Hi${pixel}</p><img src="/o/x.gif">`), '<p>Hi</p><img src="/o/x.gif">');
await tracepost.close();
"""


async def test_node_is_told_of_faults_and_sends_an_id_once(stack: Stack, node: Path) -> None:
    check, to = (await installed(node)) / "check.mjs", address()
    check.write_text(NODE_CHECK, "utf-8")
    await printed("node", check, to, str(uuid7()), env=environment(stack))
    assert len((await mailbox(stack, to))["mails"]) == 1


@pytest.mark.parametrize("amqp_url", [None, ""], ids=["amqp", "http"])
async def test_an_id_is_sent_once_and_other_content_is_a_conflict(stack: Stack, amqp_url: str | None) -> None:
    to, id_ = address(), uuid7()
    async with client(stack, amqp_url) as tracepost:
        first, again = [await tracepost.send(message(to), message_id=id_) for _ in range(2)]
        assert first == again
        assert first.message_id == id_
        assert first.rfc_message_id.startswith(f"<{id_}@")
        found = await tracepost.wait_for(id_, "delivered")
        assert [each.recipient for each in found.deliveries] == [to]
        assert not found.is_issue
        if amqp_url is None:  # the door answers before a sender has looked
            with pytest.raises(Refused) as refused:
                await tracepost.send(message(to), message_id=id_, text="Changed")
            assert refused.value.problem.code == "conflict"
        with pytest.raises(TimeoutError, match=r"is not read or spam within 0[.]2 s: it is delivered"):
            await tracepost.wait_for(id_, "read", "spam", timeout=0.2)
        with pytest.raises(TimeoutError, match=r"is not done within 0[.]1 s: nothing is known of it"):
            await tracepost.wait_for(uuid7(), timeout=0.1)
    assert len((await mailbox(stack, to))["mails"]) == 1


async def test_a_request_whose_connections_are_cut_is_sent_once(stack: Stack) -> None:
    to = address()
    async with proxied(stack.servers.broker.amqp_url) as (url, proxy), client(stack, url) as tracepost:
        await tracepost.send(message(address()))
        proxy.answering.clear()
        sending = asyncio.create_task(tracepost.send(message(to)))
        await asyncio.sleep(0)
        proxy.cut()
        proxy.answering.set()
        sent = await sending
        await tracepost.wait_for(sent.message_id, "delivered")
    assert len((await mailbox(stack, to))["mails"]) == 1


async def test_changes_are_followed_from_a_cursor_on(stack: Stack) -> None:
    async with client(stack) as tracepost:
        cursor = await tracepost.now()
        id_ = await tracepost.publish(message(address("unknown-user")), lane="bulk")
        found: list[Change] = []
        async with aclosing(tracepost.changes(cursor)) as changes:
            async for change in changes:
                found += [change] if change.message_id == id_ else []
                if found and found[-1].status == "hard_bounce":
                    break
        assert [each.version for each in found] == sorted({each.version for each in found})
        assert (await tracepost.status(id_)).is_issue
        with pytest.raises(Refused) as refused:
            await tracepost.status(uuid7())
        assert refused.value.problem.status == 404


async def test_without_asyncio_it_is_the_same(stack: Stack) -> None:
    def follow() -> list[str]:
        with Client(amqp_url=stack.servers.broker.amqp_url, api_url=stack.query_url) as tracepost:
            id_ = tracepost.publish(from_="support@tracepost.test", to=[address()], text="Hello")
            told = [tracepost.wait_for(id_).status, tracepost.status(id_).status]
            changes = tracepost.changes("0")
            return [*told, next(each.status for each in changes if each.message_id == id_ and each.status == told[0])]


async def test_a_broker_without_a_sender_has_the_request_and_says_so(stack: Stack, broker: str) -> None:
    id_ = uuid7()
    async with client(stack, broker) as tracepost:
        with pytest.raises(Unanswered, match=str(id_)):
            await tracepost.send(message(address()), message_id=id_, answer_within=0.5)


async def test_what_cannot_be_reached_is_named_and_a_request_can_be_sent_again_by_its_id(stack: Stack) -> None:
    async with AsyncClient(amqp_url="", api_url=NOWHERE, sender_url=NOWHERE, timeout=0.3) as tracepost:
        with pytest.raises(Unconfirmed, match=f"sender gives no answer at {NOWHERE}") as unconfirmed:
            await tracepost.send(message(address()))
        with pytest.raises(Unreachable, match="TRACEPOST_API_URL"):
            await tracepost.status(uuid7())
        with pytest.raises(Unreachable, match="TRACEPOST_API_URL"):
            await tracepost.wait_for(uuid7(), timeout=0.2)

    def without_a_broker() -> None:
        with Client(amqp_url=f"amqp://guest:guest@{HOST}:{free_port()}/", timeout=0.3) as tracepost:
            tracepost.publish(message(address()), message_id=unconfirmed.value.message_id)

    # In a loop of its own, which ends: what aio-pika leaves of a connection that never came about wants a running one.
    with pytest.raises(Unconfirmed, match="Connect call failed"):
        await asyncio.to_thread(without_a_broker)
    async with client(stack, "") as tracepost:
        accepted = await tracepost.send(message(address()), message_id=unconfirmed.value.message_id)
        assert accepted.message_id == unconfirmed.value.message_id
