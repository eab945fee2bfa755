"""`tracepost quarantine`: reports that bounce-ingest could not place, until a person has looked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from tracepost.cli.asking import ask, listed
from tracepost.cli.ending import ISSUE
from tracepost.cli.options import Json, Limit, Yes
from tracepost.cli.telling import as_list, confirm, lines, moment, progress, say, table, tell

if TYPE_CHECKING:
    from tracepost.client.api import Api

app = typer.Typer(
    no_args_is_help=True, help="Reports that could not be placed: list, show, classify, release, rerun, drop."
)

ReportId = Annotated[UUID, typer.Argument(help="the report's id", show_default=False)]
Reports = Annotated[list[UUID] | None, typer.Argument(metavar="ID", help="these reports", show_default=False)]
Why = Annotated[str | None, typer.Option("--reason", help="those held for this reason alone, such as unplaced")]
Kind = Literal["hard", "soft", "spam", "undetermined", "complaint"]
MOST = 1_000_000


@app.command("list")
def listing(ctx: typer.Context, reason: Why = None, limit: Limit = 50, as_json: Json = False) -> None:
    """List what is held, newest first."""
    told = ask(ctx, "bounce-ingest", lambda api: listed(api, "quarantine", "reports", limit, reason=reason), as_json)
    tell(told, as_json, _reports)


@app.command()
def show(
    ctx: typer.Context,
    report: ReportId,
    raw: Annotated[bool, typer.Option("--raw", help="print it as it came, byte for byte")] = False,
    as_json: Json = False,
) -> None:
    """Show a report, and why it is held."""
    if raw:
        sys.stdout.buffer.write(ask(ctx, "bounce-ingest", lambda api: _raw(api, report), as_json))
        return
    told = ask(ctx, "bounce-ingest", lambda api: api.get(f"quarantine/{report}"), as_json)
    tell(told, as_json, _report)


@app.command()
def classify(
    ctx: typer.Context,
    report: ReportId,
    kind: Annotated[Kind, typer.Option("--as", help="what it tells of", show_default=False)],
    message_id: Annotated[UUID | None, typer.Option(help="by default what the report came for")] = None,
    recipient: Annotated[int, typer.Option(min=0, max=255, help="its number in to + cc + bcc, from 0")] = 0,
    as_json: Json = False,
) -> None:
    """Say what a report is about: recorded as your word, it shows as an issue, and suppresses nobody."""
    told = ask(ctx, "bounce-ingest", lambda api: _classified(api, report, kind, message_id, recipient), as_json)
    if told is None:
        raise typer.BadParameter("the report names no message; say which", param_hint="--message-id")
    tell(told, as_json, _outcome)


@app.command()
def release(ctx: typer.Context, report: ReportId, as_json: Json = False) -> None:
    """Read a report again by the rules of now; exit code 1 if it is still held."""
    told = ask(ctx, "bounce-ingest", lambda api: api.post(f"quarantine/{report}/release"), as_json)
    tell(told, as_json, _outcome)
    if told["result"] == "held":
        sys.exit(ISSUE)


@app.command()
def rerun(ctx: typer.Context, reason: Why = None, as_json: Json = False) -> None:
    """Read all reports again by the rules of now: after an upgrade, or when a rule was added."""
    told = ask(ctx, "bounce-ingest", lambda api: _run_again(api, reason), as_json)
    tell(told, as_json, lambda told: say(f"{told['told']} of {told['looked_at']} told"))


@app.command()
def drop(
    ctx: typer.Context,
    reports: Reports = None,
    every: Annotated[bool, typer.Option("--all", help="every report that --reason leaves")] = False,
    reason: Why = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete reports for good."""
    if bool(reports) == every:
        raise typer.BadParameter("name reports, or give --all, with --reason if not all are meant")
    chosen = list(map(str, reports or ()))
    if every:
        found = ask(
            ctx, "bounce-ingest", lambda api: listed(api, "quarantine", "reports", MOST, reason=reason), as_json
        )
        chosen = [each["id"] for each in found["reports"]]
    confirm(f"delete {len(chosen)} reports?", yes)
    ask(ctx, "bounce-ingest", lambda api: _dropped(api, chosen), as_json)
    tell({"done": len(chosen)}, as_json, lambda told: say(f"{told['done']} dropped"))


async def _raw(api: Api, report: UUID) -> bytes:
    async with api.answer("GET", f"quarantine/{report}/raw") as response:
        return await response.read()


async def _classified(api: Api, report: UUID, kind: Kind, message_id: UUID | None, recipient: int) -> Any:
    """What is told of it; None: nobody knows which message it is about."""
    about = str(message_id) if message_id else None
    if about is None:
        named = (await api.get(f"quarantine/{report}"))["about"]
        if not named:
            return None
        about, _, number = named.partition("/")
        recipient = int(number)
    said = {"event": "complained"} if kind == "complaint" else {"event": "bounced", "bounce_class": kind}
    return await api.post(f"quarantine/{report}/classify", {**said, "message_id": about, "recipient_no": recipient})


async def _run_again(api: Api, reason: str | None) -> dict[str, int]:
    """Page by page; the counts of all of them."""
    counts, cursor = {"looked_at": 0, "told": 0}, None
    with progress() as bar:
        task = bar.add_task("reads again", total=None)
        while True:
            place = {"reason": reason, "cursor": cursor}
            page = await api.post(
                "quarantine/run-again", {name: each for name, each in place.items() if each is not None}
            )
            counts = {name: count + page[name] for name, count in counts.items()}
            bar.update(task, completed=counts["looked_at"])
            if (cursor := page["cursor"]) is None:
                return counts


async def _dropped(api: Api, reports: list[str]) -> None:
    with progress() as bar:
        for each in bar.track(reports, description="drops"):
            await api.delete(f"quarantine/{each}")


def _reports(told: dict[str, Any]) -> None:
    rows = [
        (each["id"], moment(each["received_at"]), each["reason"], each.get("way"), each["subject"])
        for each in told["reports"]
    ]
    table(("id", "received", "reason", "way", "subject"), rows, "nothing is in quarantine")


def _report(told: dict[str, Any]) -> None:
    lines({name: as_list(value) for name, value in told.items() if name != "raw" and value is not None})
    say(told.get("raw") or "")


def _outcome(told: dict[str, Any]) -> None:
    if told["result"] == "held":
        say(f"still held: {told['reason']} {told['detail']}", "yellow")
    for each in told.get("events", ()):
        say(f"{each['event']} for {each['subject']}", "green")
