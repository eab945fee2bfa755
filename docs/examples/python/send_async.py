"""The same for code with asyncio."""

import asyncio
import sys

from tracepost.client import AsyncClient


async def main() -> None:
    """Send, and wait."""
    async with AsyncClient() as tracepost:
        sent = await tracepost.send(
            from_="support@tracepost.test", to=sys.argv[1:], subject="Hello", html="<p>Hello</p>"
        )
        print((await tracepost.wait_for(sent.message_id, "read")).shown_as)


asyncio.run(main())
