"""The pixel as most would write it, to be run as a process: an aiohttp handler that awaits one publish of aio-pika."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime

import aio_pika
from aiohttp import web

from pixel.answers import GIF, HEADERS
from pixel.places import plain, truncated
from pixel.verdict import judge
from tracepost import events, tokens, topology
from tracepost.events import Opened, event
from tracepost.tokens import Keyring


async def main(amqp_url: str, port: int, keyring: Keyring) -> None:
    """Serve for ever."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel(on_return_raises=True) as channel:
        exchange = await channel.get_exchange(topology.EVENTS)

        async def pixel(request: web.Request) -> web.Response:
            claim = keyring.verify("pixel", tokens.from_url(request.match_info["token"]))
            if claim is not None:
                who = judge({"user-agent": request.headers.get("User-Agent", "")})
                data = Opened(**who._asdict(), ip=truncated(plain(request.remote or "")))
                told = event("pixel", claim.message_id, claim.recipient_no, data, time=datetime.now(UTC))
                message = aio_pika.Message(
                    events.encode(told),
                    content_type=events.EVENT_TYPE,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )
                await exchange.publish(message, told.name, mandatory=True)
            return web.Response(body=GIF, content_type="image/gif", headers=HEADERS)

        app = web.Application()
        app.router.add_get("/o/{token}.gif", pixel)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(os.environ["AMQP_URL"], int(sys.argv[1]), Keyring({1: bytes(32)})))
