"""Requests to the running stack, and what its services tell of them."""

from __future__ import annotations

import json
from typing import Any

import aio_pika
import aiohttp
from uuid_utils.compat import uuid4, uuid7

from local_stack.stack import Stack
from tests.conftest import eventually
from tracepost.topology import REQUESTS


async def answered(stack: Stack, *bodies: bytes) -> list[dict[str, Any]]:
    """What the sender answers to requests published one after the other."""
    url = stack.servers.broker.amqp_url
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        answers = await channel.declare_queue(exclusive=True)
        exchange = await channel.get_exchange(REQUESTS)
        for number, body in enumerate(bodies):
            message = aio_pika.Message(
                body, user_id="guest", reply_to=answers.name, correlation_id=str(number), delivery_mode=2
            )
            await exchange.publish(message, "send.normal")
        found: dict[str, dict[str, Any]] = {}

        async def all_there() -> bool:
            if message := await answers.get(no_ack=True, fail=False):
                found[message.correlation_id or ""] = json.loads(message.body)
            return len(found) == len(bodies)

        await eventually(all_there)
        return [found[str(number)] for number in range(len(bodies))]


def request(**fields: Any) -> dict[str, Any]:
    return {
        "message_id": str(uuid7()),
        "from": "support@tracepost.test",
        "to": ["delivered+e2e@simulator.test"],
        "subject": "Hello",
        "text": "Hello",
        **fields,
    }


async def query(stack: Stack, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{stack.query_url}/{path}") as response:
        return await response.json()


async def has_status(stack: Stack, message_id: str, status: str) -> bool:
    return bool((await query(stack, f"messages/{message_id}")).get("status") == status)


async def sent(stack: Stack, behaviour: str, status: str, **fields: Any) -> tuple[str, str]:
    """The id of a message that has reached the status, and the recipient it was sent to."""
    recipient = f"{behaviour}+{uuid4().hex}@simulator.test"
    message = request(to=[recipient], html="<p>Hello</p>", **fields)
    await answered(stack, json.dumps(message).encode())
    await eventually(lambda: has_status(stack, message["message_id"], status))
    return message["message_id"], recipient


async def timeline(stack: Stack, message_id: str, length: int) -> list[dict[str, Any]]:
    """The events, once there are so many."""

    async def look() -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = (await query(stack, f"messages/{message_id}/events"))["events"]
        return events if len(events) >= length else []

    return await eventually(look)


async def mailbox(stack: Stack, recipient: str) -> Any:
    async with aiohttp.request("GET", stack.mailbox_url, params={"recipient": recipient}) as response:
        return await response.json()


async def suppressed(stack: Stack, address: str) -> bool:
    url = f"{stack.sender_url}/suppressions/search"
    async with aiohttp.request("POST", url, json={"address": address}) as response:
        return bool((await response.json())["suppressions"])
