"""An API as it is written most often: `python -m tests.bench.peers.query <database> <port>`."""

from __future__ import annotations

import asyncio
import json
import sys
from uuid import UUID

import asyncpg
from aiohttp import web


async def main(database: str, port: int) -> None:
    pool = await asyncpg.create_pool(database, min_size=8, max_size=8)

    async def message(request: web.Request) -> web.Response:
        id_ = UUID(request.match_info["id"])
        row = dict(await pool.fetchrow("SELECT * FROM messages WHERE message_id = $1", id_) or {})
        rows = await pool.fetch("SELECT * FROM deliveries WHERE message_id = $1", id_)
        row["deliveries"] = [dict(each) for each in rows]
        return web.Response(text=json.dumps(row, default=str), content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/messages/{id}", message)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
