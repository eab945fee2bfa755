"""A real mail server as the relay of a running stack: what is sent through it, what it stores, what becomes known."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local_stack.stack import Stack, running_stack
from tests.conftest import ROOT, eventually
from tests.e2e.asking import answered, query
from tests.mail_servers import hosts, net
from tests.mail_servers.machine import HOME, Machine, machine
from tests.mail_servers.running import SERVERS, running, unpacked
from tests.signatures import BOTH, key_files

DEADLINE = 60.0
KEYS = tuple(replace(key, domain="tickets.example") for key in BOTH)
SENDER = "Support <support@tickets.example>"
HOME_ADDRESS = f"ann@{net.HOME_DOMAIN}"

# What servers write before our own first field.
_TRACE = re.compile(rb"\A(?:(?!DKIM-Signature:)[\w-]+:.*\n(?:[ \t].*\n)*)*")


@dataclass(frozen=True)
class Site:
    """One server, by its name in SERVERS, on its machine."""

    name: str
    made: Machine
    stack: Stack

    async def send(self, body: bytes) -> dict[str, Any]:
        """What the sender answers: the ids, or a problem document."""
        [answer] = await answered(self.stack, body)
        return answer

    async def stored(self, rfc_message_id: str) -> bytes:
        """The mail in the mailbox with CRLF line ends, without what the server wrote before our own first field."""
        wanted = f"\nMessage-ID: {rfc_message_id}\n".encode()

        async def look() -> bytes:
            mails = (file.read_bytes() for file in (self.made.root / HOME.lstrip("/") / "new").glob("*"))
            return next((mail for mail in mails if wanted in mail), b"")

        return _TRACE.sub(b"", await eventually(look, DEADLINE)).replace(b"\n", b"\r\n")

    async def told(self, message_id: str, event: str, origin: str) -> dict[str, Any]:
        """The data of the first event of this kind and origin."""

        async def look() -> dict[str, Any]:
            events = (await query(self.stack, f"messages/{message_id}/events")).get("events", ())
            found = [each["data"] for each in events if each["type"] == f"tracepost.{event}.v1"]
            return next((data for data in found if data["origin"] == origin), {})

        return await eventually(look, DEADLINE)

    async def reaches(self, message_id: str, status: str) -> None:
        """Wait until the message has this status; AssertionError names the one that it has."""

        async def look() -> bool:
            message = await query(self.stack, f"messages/{message_id}")
            assert message.get("status") == status, message
            return True

        await eventually(look, DEADLINE)


@asynccontextmanager
async def site(name: str) -> AsyncIterator[Site]:
    """The server and the stack, ready; reports go back to bounce-ingest by SMTP."""
    if [interface for _, interface in socket.if_nameindex()] != ["lo"]:
        pytest.fail("this needs a machine of its own: run it by `make peers`")
    folder = ROOT / ".local/peers-stack"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server = SERVERS[name]
    with machine(ROOT / ".local/peers-machine", unpacked(name)) as made:
        server.prepare(made)
        async with (
            net.resolving(),
            hosts.customers(),
            running(made, server),
            running_stack(folder, print, settings=_settings(folder)) as stack,
            hosts.forwarding_reports(int(stack.environment["TRACEPOST_BOUNCE_INGEST_SMTP_PORT"])),
        ):
            yield Site(name, made, stack)


def _settings(folder: Path) -> dict[str, str]:
    return {
        "TRACEPOST_BOUNCE_DOMAIN": net.RETURN_DOMAIN,
        "TRACEPOST_SENDER_RELAY_HOST": net.SERVER,
        "TRACEPOST_SENDER_RELAY_PORT": "25",
        "TRACEPOST_SENDER_HOSTNAME": "app.tickets.example",
        "TRACEPOST_SENDER_DKIM_KEYS": key_files(folder, KEYS),
        "TRACEPOST_SENDER_FEEDBACK_ID": "",
    }
