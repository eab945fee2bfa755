"""Asks one service's API for a command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from tracepost.cli.ending import finished
from tracepost.cli.options import given

if TYPE_CHECKING:
    from tracepost.client.api import Api, Service

Answer = TypeVar("Answer")


def ask(ctx: typer.Context, service: Service, question: Callable[[Api], Awaitable[Answer]], as_json: bool) -> Answer:
    """The answer; a fault ends the command."""

    async def asked() -> Answer:
        from tracepost.client.api import reaching
        from tracepost.client.settings import places

        async with reaching(service, places(**given(ctx))) as api:
            return await question(api)

    return finished(asked(), as_json)


async def listed(api: Api, path: str, member: str, limit: int, **query: Any) -> dict[str, Any]:
    """Up to so many items of a list that is asked for by GET."""
    from tracepost.client.api import gather

    return await gather(lambda **page: api.get(path, **query, **page), member, limit)


async def searched(api: Api, path: str, member: str, limit: int, **asked: Any) -> dict[str, Any]:
    """The same of a list that is asked for by POST, for addresses never stand in a URL."""
    from tracepost.client.api import gather

    wanted = {name: value for name, value in asked.items() if value is not None}

    async def page(**place: Any) -> Any:
        return await api.post(path, wanted | {name: value for name, value in place.items() if value is not None})

    return await gather(page, member, limit)
