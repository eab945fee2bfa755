"""`tracepost send`: from flags, a request in JSON, or a whole mail on standard input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from tracepost.cli import reading
from tracepost.cli.ending import ISSUE, end, finished
from tracepost.cli.options import Json, client
from tracepost.cli.telling import STYLES, lines, note, say, tell

if TYPE_CHECKING:
    from tracepost.client import Message

Lane = Literal["normal", "bulk"]
Texts = Annotated[list[str] | None, typer.Option(show_default=False)]
Text = Annotated[str | None, typer.Option(show_default=False)]


def send(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="a request in JSON, or a mail (RFC 5322); - or none: standard input", allow_dash=True),
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", help="Name <address>")] = None,
    to: Annotated[list[str] | None, typer.Option(help="a recipient; give it several times")] = None,
    cc: Texts = None,
    bcc: Texts = None,
    reply_to: Texts = None,
    subject: Text = None,
    text: Annotated[str | None, typer.Option(help="the text itself; with --html the other form of it")] = None,
    html: Text = None,
    text_file: Annotated[Path | None, typer.Option(help="the same from a file")] = None,
    html_file: Annotated[Path | None, typer.Option(show_default=False)] = None,
    attach: Annotated[list[Path] | None, typer.Option(help="a file; give it several times")] = None,
    header: Annotated[list[str] | None, typer.Option(help="a further header, as 'In-Reply-To: <…>'")] = None,
    reference: Annotated[str | None, typer.Option(help="your own key of the message, by which it is found")] = None,
    tag: Texts = None,
    metadata: Annotated[list[str] | None, typer.Option(help="name=value")] = None,
    track_opens: Annotated[Literal["full", "day", "off"] | None, typer.Option(show_default=False)] = None,
    send_at: Annotated[str | None, typer.Option(help="not before 2026-03-04T12:00:00Z")] = None,
    expires_after: Annotated[int | None, typer.Option(help="seconds until retries are given up")] = None,
    on_unknown: Annotated[Literal["retry", "park"] | None, typer.Option(show_default=False)] = None,
    list_unsubscribe: Annotated[str | None, typer.Option(help="an https URL for one click")] = None,
    override_suppression: Annotated[str | None, typer.Option(help="why suppressed addresses are written to")] = None,
    message_id: Annotated[UUID | None, typer.Option(help="a UUIDv7: repeated with the same, it is sent once")] = None,
    bulk: Annotated[bool, typer.Option("--bulk", help="wait behind other mail")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="until it is sent, or has failed; exit code 1 for an issue")
    ] = False,
    until: Annotated[list[str] | None, typer.Option(help="wait for this status, or one of several")] = None,
    timeout: Annotated[float, typer.Option(help="seconds to wait for it")] = 60.0,
    as_json: Json = False,
) -> None:
    """Send a message: over RabbitMQ where TRACEPOST_AMQP_URL is set, else at the sender's HTTP door.

    Without a file, --text and --html a request or mail is read from standard input; flags are added to it.
    """
    flags = {
        "from": sender,
        "to": to,
        "cc": cc,
        "bcc": bcc,
        "reply_to": reply_to,
        "subject": subject,
        "text": text if text_file is None else reading.text(text_file),
        "html": html if html_file is None else reading.text(html_file),
        "attachments": _attached(attach or ()),
        "headers": dict(_pair(each, ":", "--header") for each in header or ()),
        "reference": reference,
        "tags": tag,
        "metadata": dict(_pair(each, "=", "--metadata") for each in metadata or ()),
        "track_opens": track_opens,
        "send_at": send_at,
        "expires_after": expires_after,
        "on_unknown": on_unknown,
        "list_unsubscribe": list_unsubscribe,
        "override_suppression": override_suppression,
        "message_id": message_id and str(message_id),
    }
    composed = file is None and (flags["text"] is not None or flags["html"] is not None)
    base = {} if composed else _handed(file, to)
    fields = base | {name: value for name, value in flags.items() if value}
    lane: Lane = "bulk" if bulk else "normal"
    statuses = until or ([] if wait else None)
    told = finished(_sent(ctx, fields, lane, statuses, timeout), as_json)
    tell(told, as_json, _show)
    if told["is_issue"]:
        sys.exit(ISSUE)


async def _sent(
    ctx: typer.Context,
    fields: Mapping[str, Any],
    lane: Lane,
    until: Sequence[str] | None,
    timeout: float,
) -> dict[str, Any]:
    """What the sender answers, and where the message stands in the end, if that is waited for."""
    async with client(ctx) as sending:
        accepted = await sending.send(fields, lane=lane)
        found: Message | None = None
        if until is not None:
            note(f"{accepted.message_id} is accepted")
            found = await sending.wait_for(accepted.message_id, *until, timeout=timeout)
    status = {"status": found.status if found else None, "is_issue": bool(found and found.is_issue)}
    return accepted.model_dump(mode="json") | status


def _handed(file: Path | None, to: Sequence[str] | None) -> dict[str, Any]:
    """The fields that stand in the file, or on standard input: a JSON object or a mail."""
    from tracepost.cli import mails

    if file is None and sys.stdin.isatty():
        raise typer.BadParameter("give --text or --html, a file, or a mail on standard input")
    content = reading.content(file or reading.STANDARD)
    try:
        if content.lstrip()[:1] == b"{":
            return dict(json.loads(content))
        handed = mails.read(content)
    except ValueError as error:
        end(os.EX_DATAERR, ValueError(f"{file or 'standard input'} is neither a request in JSON nor a mail: {error}"))
    if handed.left_out:
        note(f"left out: {', '.join(handed.left_out)}, which Tracepost writes itself")
    # Who is named on the command line gets it, as with other programs that send mail, and nobody else.
    return {name: value for name, value in handed.fields.items() if not to or name not in ("to", "cc", "bcc")}


def _attached(files: Sequence[Path]) -> list[dict[str, Any]]:
    from tracepost.client import attachment

    try:
        return [attachment(each) for each in files]
    except OSError as error:
        end(os.EX_NOINPUT, error)


def _pair(text: str, sign: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(sign)
    if not found:
        raise typer.BadParameter(f"write it as name{sign}value, not {text!r}", param_hint=option)
    return name.strip(), value.strip()


def _show(told: dict[str, Any]) -> None:
    lines({"message": told["message_id"], "Message-ID": told["rfc_message_id"]})
    say(told["status"] or "accepted", STYLES.get(told["status"] or ""))
