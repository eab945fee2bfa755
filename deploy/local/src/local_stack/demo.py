"""The demo: one request for each behaviour of the simulator, and a table of what becomes of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aio_pika
import aiohttp
from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from uuid_utils.compat import uuid7
from yarl import URL

from local_stack import tickets
from local_stack.stack import SERVICES, Stack, unready
from tracepost.topology import REQUESTS

DEADLINE = 45.0
REFRESH = 0.2
DOMAIN = "simulator.test"
OTHER_COLUMNS = 49  # what the table needs beside the column of the cause

HTML = "<html><body><p>Hello,</p><p>your question was a good one. Here is the answer.</p></body></html>"


@dataclass(frozen=True)
class Case:
    """A recipient, the status that a mail to it must reach, and how many events its timeline must have by then.

    `again` waits until the address is suppressed.
    """

    behaviour: str
    expected: str
    events: int = 2
    again: bool = False

    @property
    def name(self) -> str:
        return f"{self.behaviour} again" if self.again else self.behaviour


CASES = (
    Case("delivered", "delivered"),
    Case("read", "read", 3),
    Case("read-gmail", "read", 3),
    Case("prefetched", "delivered", 3),
    Case("scanned", "delivered", 3),
    Case("out-of-office", "delivered"),
    Case("slow", "delivered"),
    Case("deferred-twice", "delivered", 4),
    Case("deferred", "deferred"),
    Case("dies-before", "delivered", 3),
    Case("dies-after", "delivered", 3),
    Case("unknown-user", "hard_bounce"),
    Case("unknown-domain", "hard_bounce"),
    Case("returned", "hard_bounce", 3),
    Case("returned-early", "hard_bounce", 3),
    Case("returned-twice", "hard_bounce", 3),
    Case("read-then-returned", "hard_bounce", 4),
    Case("mailbox-full", "failed"),
    Case("blames-us", "failed"),
    Case("forwarded-dead", "failed", 3),
    Case("spam", "spam"),
    Case("complains", "spam", 3),
    Case("complains-redacted", "spam", 3),
    Case("not-spam", "delivered", 4),
    Case("unknown-user", "rejected", again=True),
    Case("complains", "rejected", again=True),
)


@dataclass
class Row:
    """A case under way: what the query API says of it, and its timeline."""

    case: Case
    recipient: str
    message_id: UUID = field(default_factory=uuid7)
    message: Mapping[str, Any] | None = None
    events: Sequence[Mapping[str, Any]] = ()

    @property
    def delivery(self) -> Mapping[str, Any] | None:
        return self.message["deliveries"][0] if self.message else None

    @property
    def reached(self) -> bool:
        status = self.delivery["status"] if self.delivery else None
        return status == self.case.expected and len(self.events) >= self.case.events


async def demo(stack: Stack, console: Console, *, once: bool, deadline: float = DEADLINE) -> int:
    """Run the cases under the reader's eyes; the exit code: 0 when each has reached its status."""
    run = secrets.token_hex(3)
    rows = [Row(case, f"{case.behaviour}+{run}@{DOMAIN}") for case in CASES]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session, asyncio.TaskGroup() as group:
        publishing = group.create_task(_publish_all(stack, session, rows))
        with Live(_table(rows, console), console=console, refresh_per_second=8) as live:
            stopped = await _follow(stack, session, rows, live, deadline)
        publishing.cancel()
    console.print()
    if not stopped and all(row.reached for row in rows):
        await _tell_how_to_go_on(stack, console, rows[1])
        if once:
            return 0
        await tickets.publish(stack.servers.broker.amqp_url, [*tickets.ordinary(100), *reversed(tickets.TICKETS)])
        await _until_one_ends(stack)
    await _explain(stack, console, rows, deadline)
    return 1


async def _follow(
    stack: Stack, session: aiohttp.ClientSession, rows: Sequence[Row], live: Live, deadline: float
) -> bool:
    """Refresh until all is reached, the deadline, or a process ends (True)."""
    end = time.monotonic() + deadline
    while time.monotonic() < end and not all(row.reached for row in rows):
        if _ended(stack):
            return True
        await asyncio.gather(*(_refresh(stack, session, row) for row in rows if not row.reached))
        live.update(_table(rows, live.console))
        await asyncio.sleep(REFRESH)
    await asyncio.gather(*(_refresh(stack, session, row) for row in rows))
    live.update(_table(rows, live.console))
    return bool(_ended(stack))


def _ended(stack: Stack) -> list[str]:
    return [name for name, process in stack.processes.items() if process.child.returncode is not None]


async def _until_one_ends(stack: Stack) -> None:
    while not _ended(stack):
        await asyncio.sleep(1)


async def _publish_all(stack: Stack, session: aiohttp.ClientSession, rows: Sequence[Row]) -> None:
    async with await aio_pika.connect(stack.servers.broker.amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(REQUESTS)
        user = URL(stack.servers.broker.amqp_url).user
        await asyncio.gather(*(_publish(stack, session, exchange, user, row) for row in rows))


async def _publish(
    stack: Stack, session: aiohttp.ClientSession, exchange: aio_pika.abc.AbstractExchange, user: str | None, row: Row
) -> None:
    while row.case.again and not await _suppressed(stack, session, row.recipient):
        await asyncio.sleep(REFRESH)
    request = {
        "message_id": str(row.message_id),
        "from": "Support <support@tracepost.test>",
        "to": [row.recipient],
        "subject": "Re: your question",
        "text": "Hello,\n\nyour question was a good one. Here is the answer.\n",
        "html": HTML,
        "reference": f"demo-{row.case.behaviour}",
    }
    message = aio_pika.Message(
        json.dumps(request).encode(), content_type="application/json", delivery_mode=2, user_id=user
    )
    await exchange.publish(message, "send.normal")


async def _suppressed(stack: Stack, session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.post(f"{stack.sender_url}/suppressions/search", json={"address": address}) as response:
            return bool((await response.json())["suppressions"])
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _refresh(stack: Stack, session: aiohttp.ClientSession, row: Row) -> None:
    url = f"{stack.query_url}/messages/{row.message_id}"
    try:  # the events first: then the status is as new as they are
        async with session.get(f"{url}/events") as response:
            if response.status == 200:
                row.events = (await response.json())["events"]
        async with session.get(url) as response:
            if response.status == 200:
                row.message = await response.json()
    except (aiohttp.ClientError, TimeoutError):
        return


def _table(rows: Sequence[Row], console: Console) -> Table:
    tag = rows[0].recipient.partition("+")[2]
    title = f"What became of each message to …+{tag}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for heading in ("recipient", "status", "cause, or events"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(
            row.case.name, _status(row), f"[dim]{escape(_cut(_story(row), console.width - OTHER_COLUMNS))}[/]"
        )
    return table


def _status(row: Row) -> str:
    if row.delivery is None:
        return "[dim]not known yet[/]"
    issue = row.delivery["shown_as"].startswith("Delivery issue")
    colour = "red" if issue else "green" if row.reached else "yellow"
    return f"[{colour}]{row.delivery['shown_as']}[/]"


def _story(row: Row) -> str:
    """The cause or the notes, which say more than the names of the events."""
    if row.delivery is None:
        return "waits for the suppression" if row.case.again else ""
    runs = [(name, len(list(run))) for name, run in itertools.groupby(map(_name, row.events))]
    events = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in runs if name != "accepted")
    return row.delivery["cause"] or ", ".join(row.delivery["notes"]) or events


def _name(event: Mapping[str, Any]) -> str:
    return "outcome unknown" if event["data"].get("outcome_unknown") else event["type"].split(".")[1]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


async def _tell_how_to_go_on(stack: Stack, console: Console, row: Row) -> None:
    console.print("Every message has reached its status. The console, signed in by this link:", style="bold")
    console.print(f"  {await _signed_in(stack)}", soft_wrap=True)
    console.print("Or ask for one:", style="bold")
    console.print(f"  curl -s {stack.query_url}/messages/{row.message_id}", soft_wrap=True)
    console.print(f"  curl -s {stack.query_url}/messages/{row.message_id}/events", soft_wrap=True)


async def _signed_in(stack: Stack) -> str:
    """The console's address with what signs a browser in, once and soon."""
    async with aiohttp.request("POST", f"{stack.query_url}/session/login") as response:
        login = (await response.json())["login"]
    return str(URL(stack.console_url).with_query(login=login))


async def _explain(stack: Stack, console: Console, rows: Sequence[Row], deadline: float) -> None:
    missing = [row for row in rows if not row.reached]
    if missing:
        console.print(f"Not all statuses were reached within {deadline:g} s:", style="bold red")
    for row in missing:
        reached = row.delivery["status"] if row.delivery else "nothing known"
        console.print(f"  {row.recipient}: expected {row.case.expected}, is {reached}", soft_wrap=True)
    for service in SERVICES:
        if fault := await unready(stack, service):
            console.print(f"  {service} {fault.strip()}", style="red", markup=False, soft_wrap=True)
    for name, process in stack.processes.items():
        for line in _errors(process.tail(200)):
            console.print(f"  {name}: {line}", markup=False, soft_wrap=True)


def _errors(log: str) -> list[str]:
    """The last lines that are warnings or errors, or no log lines at all."""
    return [line for line in log.splitlines() if '"level": "info"' not in line and '"level": "debug"' not in line][-3:]
