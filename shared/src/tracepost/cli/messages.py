"""`tracepost status`, `find`, `events`, `why`: what became of a message, and for what reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from tracepost.cli.asking import ask, searched
from tracepost.cli.ending import ISSUE
from tracepost.cli.options import App, Json, Limit, MessageId, Recipient
from tracepost.cli.telling import STYLES, lines, moment, say, table, tell

if TYPE_CHECKING:
    from tracepost.client.api import Api

_ISSUES = ("spam", "hard_bounce", "rejected", "failed")


def status(ctx: typer.Context, message_id: MessageId, as_json: Json = False) -> None:
    """Tell where a message stands, for each recipient; exit code 1 for a delivery issue."""
    told = ask(ctx, "status-store", lambda api: api.get(f"messages/{message_id}"), as_json)
    tell(told, as_json, _message)
    if told["status"] in _ISSUES:
        sys.exit(ISSUE)


def find(
    ctx: typer.Context,
    status: Annotated[str | None, typer.Option(help="such as read; issues for any delivery issue")] = None,
    recipient: Annotated[str | None, typer.Option(help="to whom")] = None,
    sender: Annotated[str | None, typer.Option(help="from whom")] = None,
    reference: Annotated[str | None, typer.Option(help="your own key of the message")] = None,
    tag: Annotated[str | None, typer.Option(help="one of its tags")] = None,
    since: Annotated[str | None, typer.Option(help="made at that time or later: 2026-03-04T12:00:00Z")] = None,
    before: Annotated[str | None, typer.Option(help="made before that time")] = None,
    app: App = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Find messages, newest first, that fit all of what is given."""
    wanted: dict[str, Any] = {"status": status, "recipient": recipient, "sender": sender, "reference": reference}
    wanted |= {"tag": tag, "from": since, "to": before, "app": app}
    told = ask(ctx, "status-store", lambda api: searched(api, "messages/search", "messages", limit, **wanted), as_json)
    tell(told, as_json, _messages)


def events(ctx: typer.Context, message_id: MessageId, as_json: Json = False) -> None:
    """List everything that happened to a message, in the order of time."""
    told = ask(ctx, "status-store", lambda api: api.get(f"messages/{message_id}/events"), as_json)
    tell(
        told, as_json, lambda told: table(("time", "to", "event", "what was said"), map(_event, told["events"]), "none")
    )


def why(ctx: typer.Context, message_id: MessageId, recipient: Recipient = None, as_json: Json = False) -> None:
    """Explain a status: the event that decided, in the remote server's words, and to what the others lost."""
    told = ask(ctx, "status-store", lambda api: _reasons(api, message_id, recipient), as_json)
    tell({"deliveries": told}, as_json, lambda _: _reason_each(told))


async def _reasons(api: Api, message_id: UUID, recipients: list[int] | None) -> list[dict[str, Any]]:
    if recipients is None:
        known = await api.get(f"messages/{message_id}")
        recipients = [each["recipient_no"] for each in known["deliveries"]]
    return [await api.get(f"messages/{message_id}/deliveries/{each}/why") for each in recipients]


def _message(told: dict[str, Any]) -> None:
    say(told["shown_as"], STYLES.get(told["status"]))
    about = {name: told[name] for name in ("subject", "sender", "reference", "app")}
    lines(about | {"rule": told["rollup"]["rule"], "changed": moment(told["changed_at"])})
    rows = [
        (each["recipient_no"], each["recipient"], each["status"], moment(each["since"]), _cause(each))
        for each in told["deliveries"]
    ]
    table(("no", "recipient", "status", "since", "cause"), rows, "no delivery is known yet")


def _cause(delivery: dict[str, Any]) -> str:
    return "; ".join(filter(None, (delivery["cause"], *delivery["notes"])))


def _messages(told: dict[str, Any]) -> None:
    rows = [(each["message_id"], each["status"], each["reference"], each["subject"]) for each in told["messages"]]
    table(("id", "status", "reference", "subject"), rows, "no message fits")


def _event(told: dict[str, Any]) -> tuple[str, ...]:
    data = told["data"]
    said = next(
        (data[name] for name in ("diagnostic", "response", "verdict", "feedback_type", "reason") if data.get(name)), ""
    )
    number = told["subject"].partition("/")[2]
    return moment(told["time"]), number, told["type"].split(".")[1], said


def _reason_each(told: list[dict[str, Any]]) -> None:
    for each in told:
        _reason(each)


def _reason(told: dict[str, Any]) -> None:
    why = told["why"]
    say(f"recipient {told['recipient_no']}: {why['shown_as']}", STYLES.get(why["status"]))
    decided = why["deciding"] or {}
    by = " ".join(str(decided[name]) for name in ("name", "time", "origin") if decided.get(name))
    about = {"rule": why["rule"], "cause": why["cause"], "decided by": by, "said": decided.get("text")}
    lines(about | {"notes": "; ".join(why["notes"])})
    rows = [(moment(each["time"]), each["name"], each["sentence"]) for each in why["others"]]
    if rows:
        table(("time", "also", "why it did not decide"), rows, "")
