"""From the queue to the sink and the confirmed event, beside what mail servers do, and what the sink itself takes."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from email.message import EmailMessage
from functools import partial

from local_stack.binaries import Missing
from local_stack.processes import Failed, Process
from local_stack.stack import Servers
from tests import signatures
from tests.bench import waiting
from tests.bench.harness import Bench, Contender, Ratio, Work, Wrong, run
from tests.bench.peers import haraka, postfix, smtp
from tests.bench.raw_amqp import Raw
from tests.bench.sender import FOLDER, HTML, SEEN, TEXT, frame, sample, seeing, sender, until
from tests.conftest import ROOT
from tests.signatures import key_files
from tracepost.dkim_private import Key
from tracepost.requests import SendRequest

NAME = "send"
PEERS = ROOT / ".local" / "peers"
LIMIT = "smtp-source (limit)"
MESSAGES = 10_000  # through ours; of fewer, the first second's gentle beginning is what is measured
# Of 4 to 160 sessions, those with which each is at its best.
LOADS = {LIMIT: smtp.Load(30_000, 10), "Postfix": smtp.Load(5_000, 10), "Haraka": smtp.Load(5_000, 40)}

# By DKIM, with RSA of 2048 bits.
SIGNED = {
    "ours": (),
    "ours, RSA": (signatures.RSA,),
    "ours, Ed25519": (signatures.ED25519,),
    "ours, both": (signatures.RSA, signatures.ED25519),
}

SUBJECT = re.compile(rb'"subject":"([0-9a-f-]{36})/')

# The processes whose CPU is told, by name; a sender is there while a turn of ours lasts.
Pids = dict[str, int]


async def measure(servers: Servers, pids: Pids) -> None:
    """Run the bench with the peers that can be had, then tell how much memory the sender takes."""
    try:
        tools = smtp.tools(PEERS / "postfix")
    except Missing as error:
        print(f"{NAME}: not measured, for want of smtp-sink: {error}", flush=True)  # noqa: T201 - to be read
        return
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(smtp.sinking(tools, FOLDER / "smtp-sink.log"))
        told = {"load generator": os.getpid()} | pids | {"sink": sink.process.pid, "sender": 0}
        ports = {LIMIT: sink.port}
        for name, server in _peers(tools, sink.port).items():
            if peer := await _started(name, server, stack):
                ports[name], told[name] = peer[0], peer[1].pid
        through = {name: partial(relayed, tools, sink, port, LOADS[name]) for name, port in ports.items()}
        own = {name: partial(ours, servers.postgres_url, sink, told, keys) for name, keys in SIGNED.items()}
        await run(_bench({**own, **through}), servers, told)
    await waiting.tell(servers)


def _peers(tools: smtp.Tools, to: int) -> dict[str, AbstractAsyncContextManager[tuple[int, Process]]]:
    return {
        "Postfix": postfix.relaying(tools, FOLDER / "postfix", to),
        "Haraka": haraka.relaying(PEERS / "haraka", FOLDER / "haraka", to),
    }


async def _started(
    name: str, server: AbstractAsyncContextManager[tuple[int, Process]], stack: AsyncExitStack
) -> tuple[int, Process] | None:
    try:
        return await stack.enter_async_context(server)
    except (Missing, Failed) as error:
        print(f"{NAME}: without {name}: {error}", flush=True)  # noqa: T201 - to be read
        return None


def _bench(contenders: dict[str, Contender]) -> Bench:
    ratios = [
        Ratio("ours", "Postfix", reach=3),
        Ratio("ours", "Haraka", reach=4),
        Ratio("ours", LIMIT),
        *(Ratio(name, "ours") for name in SIGNED if name != "ours"),
        Ratio("ours, both", "Postfix", reach=2),
        Ratio("Postfix", LIMIT, usual=0.034),
        Ratio("Haraka", LIMIT, usual=0.029),
    ]
    return Bench(NAME, "message", contenders, [each for each in ratios if {each.over, each.under} <= contenders.keys()])


@asynccontextmanager
async def relayed(tools: smtp.Tools, sink: smtp.Sink, port: int, load: smtp.Load, _: str) -> AsyncIterator[Work]:
    """smtp-source, through a relay or straight into the sink, until that has taken everything."""
    before = sink.taken()
    mail = FOLDER / "mail"
    mail.write_bytes(_mail())

    async def work() -> int:
        async with smtp.sending(tools, mail, load, port, FOLDER / "smtp-source.log") as source:
            if await source.wait() != 0:
                raise source.failure("failed")
            await sink.until(before + load.messages)
        return load.messages

    yield work
    _check_copies(sink, before, load.messages)


def _mail() -> bytes:
    """What the peers relay, with the lines ended as smtp-source wants them."""
    message = EmailMessage()
    message["From"], message["To"] = "Support <support@example.com>", "Ann <ann@example.org>"
    message["Subject"], message["Date"] = "Your order", "Mon, 02 Mar 2026 10:00:00 +0000"
    message["Message-ID"] = "<01890a5d-ac96-774b-bcce-b302099a8057@example.com>"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message.as_bytes()


@asynccontextmanager
async def ours(server: str, sink: smtp.Sink, pids: Pids, keys: Sequence[Key], url: str) -> AsyncIterator[Work]:
    """The whole sender, one process, with an empty database; it signs with these keys."""
    before, sent = sink.taken(), sample(MESSAGES)
    messages = [frame(each) for each in sent]
    await seeing(url, "delivered")
    bodies: list[bytes] = []
    async with sender(server, sink.port, url, key_files(FOLDER, keys)) as process:
        pids["sender"] = process.pid
        yield partial(asyncio.to_thread, _through_the_queue, url, messages, bodies)
        pids["sender"] = 0
    _check_delivered(sent, bodies)
    _check_copies(sink, before, len(sent))


def _through_the_queue(url: str, messages: Sequence[bytes], bodies: list[bytes]) -> int:
    with Raw(url) as raw:
        raw.publish(messages)
    with Raw(url) as raw:
        bodies += until(raw.consume(SEEN), len(messages))
    return len(messages)


def _check_delivered(sent: Sequence[SendRequest], bodies: Sequence[bytes]) -> None:
    delivered = [found.decode() for body in bodies for found in SUBJECT.findall(body)]
    if sorted(delivered) != sorted(str(each.message_id) for each in sent):
        raise Wrong(f"of {len(sent)} messages {len(set(delivered))} were delivered, by {len(delivered)} events")


def _check_copies(sink: smtp.Sink, before: int, count: int) -> None:
    if (copies := sink.taken() - before) != count:
        raise Wrong(f"{count} messages were sent, the sink has {copies} copies")
