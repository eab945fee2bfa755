"""`tracepost queue`: what the sender has in hand, and what its operators decide about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from tracepost.cli.asking import ask, listed
from tracepost.cli.options import Json, Limit, MessageId, Reason, Recipient
from tracepost.cli.telling import lines, moment, say, table, tell

if TYPE_CHECKING:
    from tracepost.client.api import Api

app = typer.Typer(no_args_is_help=True, help="The sender's queue: look at it, cancel, retry, give up, pause, resume.")

Domain = Annotated[str, typer.Argument(help="what stands behind the @; * for all", show_default=False)]
State = Literal["ready", "waiting", "leased", "in_doubt", "parked"]


@app.command()
def show(ctx: typer.Context, as_json: Json = False) -> None:
    """Count what is in the queue, by lane and state and by destination, and say what is paused."""

    async def looked(api: Api) -> dict[str, Any]:
        return {**await api.get("queue"), **await api.get("queue/destinations")}

    tell(ask(ctx, "sender", looked, as_json), as_json, _totals)


@app.command("list")
def listing(
    ctx: typer.Context,
    state: Annotated[State | None, typer.Option(help="those in this state alone")] = None,
    destination: Annotated[str | None, typer.Option(help="those to this domain alone")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List deliveries that are not done."""
    asked = {"state": state, "destination": destination}
    told = ask(ctx, "sender", lambda api: listed(api, "queue/deliveries", "deliveries", limit, **asked), as_json)
    tell(told, as_json, lambda told: _deliveries(told["deliveries"]))


@app.command()
def message(ctx: typer.Context, message_id: MessageId, as_json: Json = False) -> None:
    """Show all deliveries of a message."""
    told = ask(ctx, "sender", lambda api: api.get(f"queue/messages/{message_id}"), as_json)
    tell(told, as_json, lambda told: _deliveries([{"message_id": message_id, **each} for each in told["deliveries"]]))


@app.command()
def cancel(
    ctx: typer.Context, message_id: MessageId, reason: Reason, recipient: Recipient = None, as_json: Json = False
) -> None:
    """Call a message off, for some recipients or for all that no server can have yet."""
    wish: dict[str, Any] = {"reason": reason} | ({"recipients": recipient} if recipient else {})
    told = ask(ctx, "sender", lambda api: api.post(f"messages/{message_id}/cancel", wish), as_json)
    tell(told, as_json, lambda told: _results(told["recipients"]))


@app.command()
def retry(
    ctx: typer.Context, message_id: MessageId, reason: Reason, recipient: Recipient = None, as_json: Json = False
) -> None:
    """Send now what waits or is parked, of some recipients or of all."""
    told = ask(ctx, "sender", lambda api: _each(api, message_id, recipient, "retry", reason), as_json)
    tell({"recipients": told}, as_json, lambda _: _results(told))


@app.command()
def give_up(
    ctx: typer.Context, message_id: MessageId, reason: Reason, recipient: Recipient = None, as_json: Json = False
) -> None:
    """End the attempts, as if the request had expired: the delivery has failed."""
    told = ask(ctx, "sender", lambda api: _each(api, message_id, recipient, "give-up", reason), as_json)
    tell({"recipients": told}, as_json, lambda _: _results(told))


@app.command()
def pause(ctx: typer.Context, destination: Domain, reason: Reason, as_json: Json = False) -> None:
    """Begin no more attempts to a destination, or to any."""
    wish = {"destination": destination, "reason": reason}
    told = ask(ctx, "sender", lambda api: api.post("pauses", wish), as_json)
    tell(told, as_json, lambda told: say(f"{destination}: {_words(told['result'])}"))


@app.command()
def resume(ctx: typer.Context, destination: Domain, reason: Reason, as_json: Json = False) -> None:
    """End a pause."""
    wish = {"destination": destination, "reason": reason}
    told = ask(ctx, "sender", lambda api: api.post("pauses/resume", wish), as_json)
    tell(told, as_json, lambda told: say(f"{destination}: {_words(told['result'])}"))


@app.command()
def decisions(ctx: typer.Context, limit: Limit = 50, as_json: Json = False) -> None:
    """List who decided what and why, the newest first."""
    told = ask(ctx, "sender", lambda api: listed(api, "decisions", "decisions", limit), as_json)
    names = ("at", "by", "what", "reason", "message_id", "destination")
    tell(
        told,
        as_json,
        lambda told: table(
            names, ([each.get(name) for name in names] for each in told["decisions"]), "no decision yet"
        ),
    )


async def _each(
    api: Api, message_id: UUID, recipients: list[int] | None, what: str, reason: str
) -> list[dict[str, Any]]:
    """The result for each of the recipients, by default of those whose delivery waits or is parked."""
    if recipients is None:
        known = await api.get(f"queue/messages/{message_id}")
        waiting = [each for each in known["deliveries"] if each["state"] in ("ready", "waiting", "parked")]
        recipients = [each["recipient_no"] for each in waiting]
    path = f"deliveries/{message_id}/{{}}/{what}"
    return [await api.post(path.format(each), {"reason": reason}) for each in recipients]


def _totals(told: dict[str, Any]) -> None:
    counts = [(each["lane"], each["state"], _count(each)) for each in told["totals"] if each["count"]]
    table(("lane", "state", "deliveries"), counts, "the queue is empty")
    if told["oldest_ready_seconds"]:
        say(f"the oldest has been ready for {told['oldest_ready_seconds']:.0f} s")
    names = ("destination", "ready", "waiting", "under_way")
    if told["destinations"]:
        rows = [[*(each[name] for name in names), _pause(each["pause"])] for each in told["destinations"]]
        table((*names, "paused"), rows, "")
    for each in told["pauses"]:
        lines({"paused": each["destination"], "since": moment(each["since"]), "why": _pause(each)})


def _count(total: dict[str, Any]) -> str:
    return f"{total['count']} or more" if total["at_least"] else str(total["count"])


def _pause(pause: dict[str, Any] | None) -> str:
    return f"by {pause['by']}: {pause['reason']}" if pause else ""


def _deliveries(told: list[dict[str, Any]]) -> None:
    names = ("message_id", "recipient_no", "recipient", "state", "attempt", "due_at")
    rows = [[*(each.get(name) for name in names[:-1]), moment(each.get("due_at"))] for each in told]
    table(("id", "no", "recipient", "state", "attempt", "due"), rows, "nothing waits")


def _results(told: list[dict[str, Any]]) -> None:
    rows = [(each["recipient_no"], _words(each["result"]), each.get("detail")) for each in told]
    table(("no", "result", "note"), rows, "nothing of it waits")


def _words(result: str) -> str:
    return result.replace("_", " ")
