"""Reads message disposition notifications (RFC 8098): what became of a message in the recipient's mail client."""

from __future__ import annotations

from bounce_ingest.reading.addresses import address, xtext
from bounce_ingest.reading.parts import fields
from bounce_ingest.reading.values import DispositionReport, Original


def from_part(body: str, original: Original) -> DispositionReport:
    """Of the body of a message/disposition-notification, whose characters are bytes."""
    stated = fields(body.strip("\n"))

    def first(name: str) -> str:
        return stated[name][0] if name in stated else ""

    mode, _, rest = first("disposition").lower().partition(";")
    return DispositionReport(
        disposition=rest.partition("/")[0].strip() or "unknown",
        by_hand=mode.strip().startswith("manual-action"),
        client=first("reporting-ua") or None,
        final_recipient=address(first("final-recipient")),
        original_recipient=address(xtext(first("original-recipient"))),
        original=original
        if original.message_id_header
        else Original(first("original-message-id") or None, original.token),
    )
