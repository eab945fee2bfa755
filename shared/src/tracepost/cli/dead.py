"""`tracepost dead`: messages that could not be processed, each with its reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from tracepost.cli.asking import ask, listed
from tracepost.cli.options import Json, Limit, Yes
from tracepost.cli.telling import confirm, lines, moment, progress, say, table, tell

if TYPE_CHECKING:
    from tracepost.client.api import Api

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay, drop.")

Queue = Annotated[str | None, typer.Option("--queue", help="those that died in this queue alone")]
Code = Annotated[str | None, typer.Option("--code", help="those with this reason alone")]
Letters = Annotated[list[UUID] | None, typer.Argument(metavar="ID", help="these letters", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="every letter that --queue and --code leave")]


@app.command("list")
def listing(
    ctx: typer.Context, queue: Queue = None, code: Code = None, limit: Limit = 50, as_json: Json = False
) -> None:
    """List dead letters, newest first."""
    told = ask(ctx, "status-store", lambda api: _page(api, queue, code, limit), as_json)
    tell(told, as_json, _letters)


@app.command()
def show(
    ctx: typer.Context,
    letter: Annotated[UUID, typer.Argument(help="its id", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show a letter whole: the reason with every fault, and the body."""
    told = ask(ctx, "status-store", lambda api: api.get(f"dead-letters/{letter}"), as_json)
    tell(told, as_json, _letter)


@app.command()
def replay(
    ctx: typer.Context,
    letters: Letters = None,
    every: All = False,
    queue: Queue = None,
    code: Code = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Publish letters again to where they were for, once the cause is mended; the letter stays, with the time."""

    async def again(api: Api, letter: str) -> None:
        await api.post(f"dead-letters/{letter}/replay")

    _do(ctx, "replay", again, _chosen(ctx, letters, every, queue, code, as_json), yes=yes, as_json=as_json)


@app.command()
def drop(
    ctx: typer.Context,
    letters: Letters = None,
    every: All = False,
    queue: Queue = None,
    code: Code = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget letters."""

    async def gone(api: Api, letter: str) -> None:
        await api.delete(f"dead-letters/{letter}")

    _do(ctx, "drop", gone, _chosen(ctx, letters, every, queue, code, as_json), yes=yes, as_json=as_json)


async def _page(api: Api, queue: str | None, code: str | None, limit: int) -> dict[str, Any]:
    return await listed(api, "dead-letters", "dead_letters", limit, queue=queue, code=code)


def _chosen(
    ctx: typer.Context, letters: list[UUID] | None, every: bool, queue: str | None, code: str | None, as_json: bool
) -> list[str]:
    """Their ids."""
    if bool(letters) == every:
        raise typer.BadParameter("name letters, or give --all, with --queue or --code if not all are meant")
    if letters:
        return list(map(str, letters))
    told = ask(ctx, "status-store", lambda api: _page(api, queue, code, MOST), as_json)
    return [each["id"] for each in told["dead_letters"]]


MOST = 1_000_000


def _do(
    ctx: typer.Context,
    what: str,
    act: Callable[[Api, str], Awaitable[None]],
    letters: Sequence[str],
    *,
    yes: bool,
    as_json: bool,
) -> None:
    if not letters:
        return tell({"done": 0}, as_json, lambda _: say("there is no such dead letter"))
    confirm(f"{what} {len(letters)} dead letters?", yes)

    async def work(api: Api) -> int:
        with progress() as bar:
            for each in bar.track(letters, description=what):
                await act(api, each)
        return len(letters)

    done = ask(ctx, "status-store", work, as_json)
    return tell({"done": done}, as_json, lambda told: say(f"{what}: {told['done']} done"))


def _letters(told: dict[str, Any]) -> None:
    rows = [
        (each["id"], moment(each["died_at"]), each["queue"], each["code"], each["app"], moment(each["replayed_at"]))
        for each in told["dead_letters"]
    ]
    table(("id", "died", "queue", "code", "app", "replayed"), rows, "no dead letter")


def _letter(told: dict[str, Any]) -> None:
    problem = told["problem"] or {}
    lines(
        {
            name: told[name]
            for name in ("id", "queue", "exchange", "routing_key", "app", "code", "died_at", "replayed_at")
        }
    )
    lines({"why": problem.get("title"), "detail": problem.get("detail")})
    for each in problem.get("errors", ()):
        lines({each["pointer"] or "the whole": each["detail"]})
    say(told["body"])
