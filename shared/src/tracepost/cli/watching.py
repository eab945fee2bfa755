"""`tracepost watch`: what changes, as it changes."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from tracepost.cli.ending import ISSUE, finished
from tracepost.cli.options import Json, client
from tracepost.cli.telling import STYLES, plain, say, stream

if TYPE_CHECKING:
    from tracepost.client import AsyncClient, Message


def watch(
    ctx: typer.Context,
    message_ids: Annotated[
        list[UUID] | None, typer.Argument(metavar="MESSAGE_ID", help="those messages alone", show_default=False)
    ] = None,
    until: Annotated[
        list[str] | None, typer.Option(help="stop when each of the messages has this status, or one of several")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="stop after so many seconds; exit code 1")] = None,
    cursor: Annotated[str | None, typer.Option(help="go on after this change; 0 for the oldest there is")] = None,
    as_json: Json = False,
) -> None:
    """Follow messages live, until Ctrl-C; with --json a line for each change, with the cursor to go on after it."""
    if until and not message_ids:
        raise typer.BadParameter("name the messages that shall reach it", param_hint="--until")
    wanted, ends = set(map(str, message_ids or ())), set(until or ())
    if not finished(_watched(ctx, wanted, ends, timeout, cursor, as_json), as_json):
        sys.exit(ISSUE)


async def _watched(
    ctx: typer.Context,
    wanted: Collection[str],
    until: Collection[str],
    timeout: float | None,
    cursor: str | None,
    as_json: bool,
) -> bool:
    """Whether all have come to where they should, or there was nothing to wait for."""
    import asyncio

    async with client(ctx) as following:
        try:
            async with asyncio.timeout(timeout):
                await _follow(following, wanted, until, cursor, as_json)
        except TimeoutError:
            return False
    return True


async def _follow(
    following: AsyncClient, wanted: Collection[str], until: Collection[str], cursor: str | None, as_json: bool
) -> None:
    cursor = cursor or await following.now()
    left = set(wanted) if until else {""}
    for each in await _known(following, wanted):
        _told(each.model_dump(mode="json", include=set(_SHOWN)), as_json)
        left -= {str(each.message_id)} if each.status in until else set()
    if not left:
        return
    async for change in following.changes(cursor):
        if not wanted or str(change.message_id) in wanted:
            _told(change.model_dump(mode="json", include=set(_SHOWN)), as_json)
            left -= {str(change.message_id)} if change.status in until else set()
        if not left:
            return


async def _known(following: AsyncClient, wanted: Collection[str]) -> list[Message]:
    """The messages that status-store knows already."""
    from tracepost.client import Refused

    found = []
    for each in wanted:
        try:
            found.append(await following.status(each))
        except Refused as error:
            if error.problem.status != 404:
                raise
    return found


_SHOWN = ("message_id", "version", "status", "reference", "app", "rollup", "cursor")


def _told(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        stream({"cursor": None, **told})
        return
    status, counts = told["status"], told["rollup"].get("counts", {})
    count = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    text = f"{told['message_id']}  {status:<11}  {count:<24}  {told['reference'] or ''}"
    say(plain(text).rstrip(), STYLES.get(status))
