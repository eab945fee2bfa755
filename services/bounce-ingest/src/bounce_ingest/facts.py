"""Makes events of an understood report and the delivery that a token names; pure."""

from __future__ import annotations

import re
from hashlib import sha256

from bounce_ingest.report import (
    AutoReply,
    DeliveryReport,
    DispositionReport,
    FeedbackReport,
    NotUnderstood,
    RecipientReport,
    Report,
)
from tracepost.events import (
    AnyEvent,
    Bounced,
    Complained,
    Data,
    Deferred,
    Delivered,
    Opened,
    Verdict,
    derived_id,
    event,
)
from tracepost.tokens import Claim, Keyring, from_local_part

# RFC 6590 lets a provider replace the local part, by a word or by the base64 of a hash.
_REDACTED = re.compile(r"(?i)(redacted[^@]*|x{3,}|\*+|[0-9a-f]{32,}|[a-z0-9+/]{27}=)@")


def delivery(report: Report, claim: Claim | None, keyring: Keyring) -> Claim | None:
    """Which delivery it is about: the return path's, else the one that our header in the returned message names."""
    match report:
        case (
            DeliveryReport(original=original) | FeedbackReport(original=original) | DispositionReport(original=original)
        ):
            return claim or keyring.verify("return-path", from_local_part(original.token or ""))
        case AutoReply() | NotUnderstood():
            return claim


def facts(report: Report, claim: Claim, keyring: Keyring, mail: bytes) -> list[AnyEvent]:
    """The events of a report about the claim's delivery; the same mail again gives the same ids."""
    found: list[Data | None]
    match report:
        case DeliveryReport(recipients=recipients):
            found = [_recipient(each, claim, keyring) for each in recipients]
        case FeedbackReport(stated_type="auth-failure"):
            found = []  # RFC 6591: a receiver's word about our signatures, not a person's about the message
        case FeedbackReport(feedback_type=kind, reporter=reporter, recipients=named):
            addresses = [address for address in named if "@" in address and not _REDACTED.match(address)]
            sure = not addresses or any(keyring.names(claim, address) for address in addresses)
            told = Complained(
                feedback_type=kind, reporter=reporter, certainty="exact" if sure else "candidate", origin="arf"
            )
            found = [told]
        case DispositionReport():
            found = [_opened(report, claim, keyring)]
        case AutoReply() | NotUnderstood():
            found = []
    digest = sha256(mail).hexdigest()
    return [
        event(
            "bounce-ingest",
            claim.message_id,
            claim.recipient_no,
            data,
            id=derived_id(digest, claim.message_id, claim.recipient_no, place),
        )
        for place, data in enumerate(found)
        if data is not None
    ]


def _recipient(report: RecipientReport, claim: Claim, keyring: Keyring) -> Data | None:
    if _is_of_another(report, claim, keyring):
        return _dead_forward(report) if report.action == "failed" else None
    match report.action:
        case "failed":
            return Bounced(**_words(report), bounce_class=report.cause.bounce_class)
        case "delayed":
            return Deferred(**_words(report), bounce_class=report.cause.bounce_class)
        case "delivered" | "relayed" | "expanded":
            return Delivered(
                smtp_code=report.smtp_code,
                enhanced_code=report.enhanced_code,
                response=report.diagnostic,
                remote_mta=report.remote_mta,
                origin="dsn",
            )


def _is_of_another(report: RecipientReport, claim: Claim, keyring: Keyring) -> bool:
    """It names others alone; or ours, and an address of another domain as the one that had it last: a forward's."""
    named = _named(report)
    ours = next((address for address in named if keyring.names(claim, address)), None)
    return bool(named) and (ours is None or not _is_one_domain(ours, named[-1]))


def _named(report: RecipientReport | DispositionReport) -> list[str]:
    """The recipient as it was first, and last."""
    return [address for address in (report.original_recipient, report.final_recipient) if address]


def _is_one_domain(one: str, other: str) -> bool:
    """The same, or one within the other, as where a host of its own has the mailboxes."""
    domains = [address.rpartition("@")[2].lower() for address in (one, other)]
    short, long = sorted(domains, key=len)
    return f".{long}".endswith(f".{short}")


def _opened(report: DispositionReport, claim: Claim, keyring: Keyring) -> Opened | None:
    """Only "displayed" tells of a reader, and of a person only what a person did; another's copy is not ours."""
    named = _named(report)
    is_ours = not named or any(keyring.names(claim, address) for address in named)
    if report.disposition != "displayed" or not is_ours:
        return None
    verdict: Verdict = "person" if report.by_hand else "unknown"
    return Opened(verdict=verdict, rule="mdn-displayed", client=report.client, origin="mdn")


def _dead_forward(report: RecipientReport) -> Bounced:
    """Our recipient's mailbox took it; where it was forwarded to did not: nothing is wrong with our recipient."""
    return Bounced(
        **_words(report), bounce_class="soft", certainty="candidate", forwarded_to=report.final_recipient or "unknown"
    )


def _words(report: RecipientReport) -> dict[str, object]:
    return {
        "smtp_code": report.smtp_code,
        "enhanced_code": report.enhanced_code,
        "diagnostic": report.diagnostic,
        "remote_mta": report.remote_mta,
        "category": report.cause.category,
        "rule": report.cause.rule,
        "origin": "dsn",
    }
