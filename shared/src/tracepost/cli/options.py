"""Options and arguments that several commands have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from tracepost.client import AsyncClient

Json = Annotated[bool, typer.Option("--json", help="print JSON, in a shape that stays")]
MessageId = Annotated[UUID, typer.Argument(help="the message's id", show_default=False)]
Recipient = Annotated[
    list[int] | None, typer.Option("--recipient", "-r", min=0, max=255, help="its number in to + cc + bcc, from 0")
]
Limit = Annotated[int, typer.Option(min=1, help="the most that is listed")]
Reason = Annotated[str, typer.Option("--reason", help="why; it is kept with the key's name", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do it without asking")]
App = Annotated[str | None, typer.Option("--app", help="whose mail; by default the key's own, or everybody's")]


def client(ctx: typer.Context) -> AsyncClient:
    """Publishes requests and follows messages, there."""
    from tracepost.client import AsyncClient

    told = given(ctx)
    return AsyncClient(
        amqp_url=told.get("amqp_url"),
        api_url=told.get("api_url"),
        sender_url=told.get("sender_url"),
        api_key=told.get("api_key"),
    )


def given(ctx: typer.Context) -> Mapping[str, str | None]:
    """Where the services are, as far as the command line says."""
    found: Mapping[str, str | None] = ctx.obj or {}
    return found
