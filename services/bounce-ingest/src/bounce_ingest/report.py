"""Understands returned mail: what a delivery report, a complaint, a receipt or an automatic reply says."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice

from bounce_ingest.reading import amazon_ses, delivery_status, disposition, feedback, vendor
from bounce_ingest.reading.automatic import automatic
from bounce_ingest.reading.mail_system import is_mail_system, looks_like_a_failure, reports_failure
from bounce_ingest.reading.notice import Notice, from_rich_text, notice
from bounce_ingest.reading.parts import MAX_DEPTH, MAX_HEADERS, MAX_PARTS, Part, TooMuch, leaves, part, whole
from bounce_ingest.reading.values import (
    Action,
    AutoReply,
    DeliveryReport,
    DispositionReport,
    FeedbackReport,
    NotUnderstood,
    Original,
    RecipientReport,
    Report,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_HEADERS",
    "MAX_PARTS",
    "Action",
    "AutoReply",
    "DeliveryReport",
    "DispositionReport",
    "FeedbackReport",
    "NotUnderstood",
    "Original",
    "RecipientReport",
    "Report",
    "understand",
]

_NO_FORMAT: AbstractSet[str] = frozenset()


def understand(mail: bytes, without: AbstractSet[str] = _NO_FORMAT) -> Report:
    """Read a returned mail; total but for MemoryError, in time linear in its size. Passes formats in `without` over."""
    try:
        return _read(whole(mail), without)
    except TooMuch as limit:
        return NotUnderstood(limit.reason)
    except MemoryError:
        raise  # of the process, whatever the mail says
    except Exception:  # whatever a strange mail may still bring about, it must end in quarantine and not be lost
        return NotUnderstood("unreadable")


def _read(mail: Part, without: AbstractSet[str], *, is_outermost: bool = True) -> Report:
    parts = tuple(islice(leaves(mail), MAX_PARTS + 1))
    if len(parts) > MAX_PARTS:
        raise TooMuch("too_many_parts")
    told = notice(mail, parts)
    if found := _standard(mail, parts, told):
        return found
    report = _other(mail, parts, told, without)
    is_sure = isinstance(report, DeliveryReport) and report.format not in {vendor.GUESS, vendor.FLUFL}
    if is_outermost and not is_sure and reports_failure(mail, told):
        return _wrapped(told, without) or report
    return report


def _standard(mail: Part, parts: Sequence[Part], told: Notice) -> Report | None:
    """By the first part of a type that a standard describes; what is behind it is the returned message."""
    for each in parts:
        match each.type:
            case "message/delivery-status" | "message/global-delivery-status":
                if found := _delivery_status(mail, each, told):
                    return found
            case "message/feedback-report":
                return feedback.from_part(each.text(), told.returned.original)
            case "message/disposition-notification" | "message/global-disposition-notification":
                return disposition.from_part(each.decoded(), told.returned.original)
    return None


def _delivery_status(mail: Part, status: Part, told: Notice) -> Report | None:
    reports = delivery_status.from_part(status.decoded(), told)
    match reports:
        case ():
            return None
        case (report,) if not delivery_status.names_an_address(report):
            # Exim names the program or file to which an alias led; people are told the address.
            names = vendor.named(mail, told)
            known = replace(report, final_recipient=names[0]) if len(names) == 1 else report
            return DeliveryReport((known,), told.returned.original)
        case _:
            return DeliveryReport(reports, told.returned.original)


def _other(mail: Part, parts: Sequence[Part], told: Notice, without: AbstractSet[str]) -> Report:
    if found := amazon_ses.read(told) or feedback.elsewhere(mail, told):
        return found
    if reply := automatic(mail, told):
        return reply
    if not (reports_failure(mail, told) or looks_like_a_failure(mail, told)):
        return NotUnderstood("no_report")
    if found := vendor.read(mail, told, without):
        return found
    if (rich := from_rich_text(told, parts)) and (found := vendor.read(mail, rich, without)):
        return found
    is_wanted = vendor.FLUFL not in without and is_mail_system(mail)
    return (vendor.by_flufl(mail, told) if is_wanted else None) or NotUnderstood("no_recipient")


def _wrapped(told: Notice, without: AbstractSet[str]) -> Report | None:
    """A report that a gateway passed on within a report that names nobody."""
    inner = part(told.inner)
    if not (inner.get("from") and inner.get("subject") and is_mail_system(inner)):
        return None
    report = _read(inner, without, is_outermost=False)
    return report if isinstance(report, DeliveryReport) and report.format != vendor.GUESS else None
