"""`tracepost suppressions`: addresses that are not written to, with the reason and the evidence."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from tracepost.cli import reading
from tracepost.cli.asking import ask, searched
from tracepost.cli.csv_pieces import Piece, pieces
from tracepost.cli.ending import ISSUE
from tracepost.cli.options import App, Json, Limit
from tracepost.cli.telling import moment, note, progress, say, table, tell

if TYPE_CHECKING:
    from tracepost.client.api import Api

app = typer.Typer(no_args_is_help=True, help="The suppression list: list, show, check, add, lift, import, export.")

Address = Annotated[str, typer.Argument(help="a mailbox", show_default=False)]
Why = Annotated[str, typer.Option("--why", help="kept as evidence, with the key's name", show_default=False)]
CHECKED_AT_ONCE = 1_000


@app.command("list")
def listing(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option(help="such as hard_bounce, spam_complaint, manual")] = None,
    app: App = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List the entries that hold, newest first."""
    asked = {"reason": reason, "app": app}
    told = ask(ctx, "sender", lambda api: searched(api, "suppressions/list", "suppressions", limit, **asked), as_json)
    tell(told, as_json, lambda told: _entries(told["suppressions"]))


@app.command()
def show(
    ctx: typer.Context,
    address: Address,
    at: Annotated[str | None, typer.Option(help="as it was known at that time: 2026-03-04T12:00:00Z")] = None,
    as_json: Json = False,
) -> None:
    """Show everything about one address; exit code 1 if it is not written to."""
    wish = {"address": address} | ({"at": at} if at else {})
    told = ask(ctx, "sender", lambda api: api.post("suppressions/search", wish), as_json)
    tell(told, as_json, lambda told: _about(address, told))
    if told["suppressions"]:
        sys.exit(ISSUE)


@app.command()
def check(
    ctx: typer.Context,
    addresses: Annotated[
        list[str] | None, typer.Argument(help="mailboxes; by default a line each of standard input")
    ] = None,
    app: App = None,
    as_json: Json = False,
) -> None:
    """Say which of these mail would not be sent to; exit code 1 if any."""
    wanted = addresses or [line.strip() for line in sys.stdin if line.strip()]
    told = ask(ctx, "sender", lambda api: _checked(api, wanted, app), as_json)
    tell(told, as_json, _verdicts)
    if told["rejected"]:
        sys.exit(ISSUE)


@app.command()
def add(
    ctx: typer.Context,
    address: Address,
    why: Why,
    until: Annotated[str | None, typer.Option(help="to be written to again from then on: 2026-12-01T00:00:00Z")] = None,
    app: App = None,
    as_json: Json = False,
) -> None:
    """Write to an address no more."""
    wish = _set(address=address, why=why, until=until, app=app)
    told = ask(ctx, "sender", lambda api: api.post("suppressions", wish), as_json)
    tell(told, as_json, lambda told: _about(address, told))


@app.command()
def lift(ctx: typer.Context, address: Address, why: Why, app: App = None, as_json: Json = False) -> None:
    """Write to an address again: what came before the lift never suppresses it again."""
    told = ask(
        ctx, "sender", lambda api: api.post("suppressions/lift", _set(address=address, why=why, app=app)), as_json
    )
    tell(told, as_json, lambda told: _about(address, told))


@app.command("import")
def take(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="CSV: address[,app,reason,since,until,why]", allow_dash=True, show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would do")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="take the good lines of a file with bad ones")] = False,
    as_json: Json = False,
) -> None:
    """Import a CSV file of any length; nothing is taken of a file with bad lines, unless they may be skipped."""
    cut = list(pieces(reading.text(file)))
    told = ask(ctx, "sender", lambda api: _sent(api, cut, "looks at the lines", dry_run=True), as_json)
    if not dry_run and (skip_bad or not told["wrong"]):
        told = ask(ctx, "sender", lambda api: _sent(api, cut, "imports", skip_bad=skip_bad), as_json)
    elif not dry_run:
        note("nothing was imported: mend these lines, or give --skip-bad")
    tell(told, as_json, _imported)
    if told["wrong"]:
        sys.exit(ISSUE)


@app.command("export")
def give(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="where it is written; by default standard output", allow_dash=True)
    ] = reading.STANDARD,
    app: App = None,
    as_json: Json = False,
) -> None:
    """Export what holds as CSV, which can be imported."""
    lines = ask(ctx, "sender", lambda api: _exported(api, file, app), as_json)
    if file != reading.STANDARD:
        tell({"file": str(file), "lines": lines}, as_json, lambda told: say(f"{told['lines']} lines in {file}"))


async def _checked(api: Api, addresses: Sequence[str], app: str | None) -> dict[str, Any]:
    found: list[Any] = []
    for at in range(0, len(addresses), CHECKED_AT_ONCE):
        part = list(addresses[at : at + CHECKED_AT_ONCE])
        found += (await api.post("suppressions/check", _set(addresses=part, app=app)))["addresses"]
    return {"rejected": sum(each["rejected"] for each in found), "addresses": found}


async def _sent(api: Api, cut: Sequence[Piece], what: str, **options: bool) -> dict[str, Any]:
    """What the service says of each piece, put together, with the lines of the whole file."""
    told: dict[str, Any] = {"added": [], "changed": [], "ignored": [], "wrong": []}
    with progress() as bar:
        for piece in bar.track(cut, description=what):
            answer = await _posted(api, piece, **options)
            for kind, lines in told.items():
                lines += [each | {"line": piece.line(each["line"])} for each in answer[kind]]
    return told


async def _posted(api: Api, piece: Piece, **options: bool) -> Any:
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    async with api.answer(
        "POST", "suppressions/import", piece.text.encode(), query=options, headers=headers
    ) as response:
        return await response.json()


async def _exported(api: Api, file: Path, app: str | None) -> int:
    """How many lines were written, with that of the header; under its name the file is whole, or not there."""
    if file == reading.STANDARD:
        return await _copied(api, sys.stdout.buffer, app)
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as out:
        lines = await _copied(api, out, app)
    part.replace(file)
    return lines


async def _copied(api: Api, out: BinaryIO, app: str | None) -> int:
    import aiohttp

    lines, limit = 0, aiohttp.ClientTimeout(total=None, sock_read=60)
    with progress() as bar:
        task = bar.add_task("exports", total=None)
        async with api.answer("GET", "suppressions/export", query={"app": app}, timeout=limit) as response:
            async for chunk in response.content.iter_any():
                out.write(chunk)
                bar.update(task, completed=(lines := lines + chunk.count(b"\n")))
    out.flush()
    return lines


def _set(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _entries(told: Sequence[dict[str, Any]]) -> None:
    names = ("address", "reason", "app")
    rows = [
        (
            *(each.get(name) for name in names),
            moment(each["since"]),
            moment(each.get("until")),
            _evidence(each["evidence"]),
        )
        for each in told
    ]
    table((*names, "since", "until", "evidence"), rows, "nobody is on the list")


def _evidence(told: dict[str, Any]) -> str:
    by = f"by {told['by']}: {told.get('why', '')}" if told.get("by") else ""
    return "; ".join(filter(None, (by, told.get("words"), told.get("message_id"))))


def _about(address: str, told: dict[str, Any]) -> None:
    if not told["suppressions"]:
        say(f"{address} is written to", "green")
    for each in told["suppressions"]:
        until = moment(each["until"]) or "for ever"
        say(f"{address} is not written to by {each['app'] or 'anybody'}: {each['reason']}, {until}", "bold red")
    rows = [
        (moment(each["at"]), each["kind"], each.get("reason"), each.get("app"), _evidence(each))
        for each in told["history"]
    ]
    if rows:
        table(("time", "what", "reason", "app", "evidence"), rows, "")


def _verdicts(told: dict[str, Any]) -> None:
    rows = [
        (each["address"], each.get("reason"), moment(each.get("since")))
        for each in told["addresses"]
        if each["rejected"]
    ]
    table(("address", "reason", "since"), rows, "all of them are written to")


def _imported(told: dict[str, Any]) -> None:
    say(", ".join(f"{len(lines)} {kind}" for kind, lines in told.items()))
    table(("line", "field", "what is wrong"), ((w["line"], w["field"], w["detail"]) for w in told["wrong"][:50]), "")
    for because, count in Counter(each["because"] for each in told["ignored"]).items():
        say(f"{count} ignored: {because}")
