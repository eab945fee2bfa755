"""The events that a report makes: about the token's delivery, each once, and sure only of the recipient it names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bounce_ingest.facts import delivery, facts
from bounce_ingest.report import (
    AutoReply,
    DeliveryReport,
    DispositionReport,
    FeedbackReport,
    NotUnderstood,
    Original,
    RecipientReport,
    Report,
)
from tests.unit.samples import KEYRING, MESSAGE
from tracepost.bounces.classify import Cause
from tracepost.events import AnyEvent, Bounced, Complained, Deferred, Delivered, Opened
from tracepost.tokens import to_local_part

OURS, OTHER = "ann@example.org", "old@elsewhere.example"
HARD = Cause("hard", "invalid_recipient", "recipient-unknown")
FAILED = RecipientReport(
    final_recipient=OURS,
    original_recipient=None,
    action="failed",
    enhanced_code="5.1.1",
    smtp_code=550,
    diagnostic="550 5.1.1 User unknown",
    remote_mta="mx.example.org",
    cause=HARD,
)
COMPLAINT = FeedbackReport("abuse", "abuse", "fbl.example", (OURS,), Original())
MAIL = b"Subject: a report\r\n\r\n"


def told(report: Report, mail: bytes = MAIL, recipient_no: int = 3) -> list[AnyEvent]:
    claim = KEYRING.verify("return-path", KEYRING.return_path(MESSAGE, recipient_no, OURS))
    assert claim is not None
    return facts(report, claim, KEYRING, mail)


def about(*recipients: RecipientReport) -> DeliveryReport:
    return DeliveryReport(recipients, Original())


def only(report: Report) -> Any:
    (event,) = told(report)
    return event.data


def test_a_failure_bounces_the_tokens_delivery() -> None:
    (event,) = told(about(FAILED))
    assert (event.source, event.subject) == ("/tracepost/bounce-ingest", f"{MESSAGE}/3")
    assert event.data == Bounced(
        bounce_class="hard",
        category="invalid_recipient",
        rule="recipient-unknown",
        smtp_code=550,
        enhanced_code="5.1.1",
        diagnostic="550 5.1.1 User unknown",
        remote_mta="mx.example.org",
        origin="dsn",
        certainty="exact",
    )


def test_a_delay_defers() -> None:
    data = only(about(replace(FAILED, action="delayed", cause=Cause("soft", "network", "r"))))
    assert isinstance(data, Deferred)
    assert (data.bounce_class, data.origin, data.next_attempt_at, data.parked) == ("soft", "dsn", None, False)


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_a_success_delivers(action: Any) -> None:
    data = only(about(replace(FAILED, action=action, enhanced_code="2.0.0", smtp_code=250, diagnostic="OK")))
    assert isinstance(data, Delivered)
    assert (data.response, data.smtp_code, data.origin) == ("OK", 250, "dsn")


@pytest.mark.parametrize("spelling", ["ANN@Example.ORG", " ann@example.org"])
def test_the_recipient_is_ours_however_it_is_spelt(spelling: str) -> None:
    assert only(about(replace(FAILED, final_recipient=spelling))).forwarded_to is None


@pytest.mark.parametrize("last", ["ann@internal.example.org", "a.smith@Example.ORG"])
def test_the_recipient_is_ours_if_it_was_rewritten_within_its_domain_and_still_stands_there(last: str) -> None:
    data = only(about(replace(FAILED, final_recipient=last, original_recipient=OURS)))
    assert (data.bounce_class, data.certainty, data.forwarded_to) == ("hard", "exact", None)


def test_a_report_that_names_nobody_is_about_ours() -> None:
    data = only(about(replace(FAILED, final_recipient=None)))
    assert (data.bounce_class, data.certainty, data.forwarded_to) == ("hard", "exact", None)


# dead forwards


# Postfix and others name ours as well, in the second case.
@pytest.mark.parametrize("original", [None, OURS, OTHER])
def test_a_failure_for_another_recipient_is_a_dead_forward(original: str | None) -> None:
    data = only(about(replace(FAILED, final_recipient=OTHER, original_recipient=original)))
    assert isinstance(data, Bounced)
    assert (data.bounce_class, data.certainty, data.forwarded_to) == ("soft", "candidate", OTHER)
    assert (data.category, data.diagnostic) == ("invalid_recipient", FAILED.diagnostic)


def test_a_dead_forward_whose_end_is_not_named_is_one_all_the_same() -> None:
    data = only(about(replace(FAILED, final_recipient=None, original_recipient=OTHER)))
    assert (data.certainty, data.forwarded_to) == ("candidate", "unknown")


@pytest.mark.parametrize("last", ["ann@badexample.org", "ann@org.example", "ann@forward.example"])
def test_a_domain_that_only_looks_alike_is_another(last: str) -> None:
    assert only(about(replace(FAILED, final_recipient=last, original_recipient=OURS))).forwarded_to == last


@pytest.mark.parametrize("original", [None, OURS])
@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_what_else_happens_to_another_recipient_says_nothing_of_ours(action: Any, original: str | None) -> None:
    assert told(about(replace(FAILED, action=action, final_recipient=OTHER, original_recipient=original))) == []


def test_every_recipient_of_a_report_counts() -> None:
    both = about(FAILED, replace(FAILED, final_recipient=OTHER), replace(FAILED, final_recipient="x@y.example"))
    events = told(both)
    assert [getattr(event.data, "forwarded_to", None) for event in events] == [None, OTHER, "x@y.example"]
    assert len({event.id for event in events}) == 3


# complaints


def test_a_complaint_that_names_ours_is_exact() -> None:
    assert only(COMPLAINT) == Complained(feedback_type="abuse", reporter="fbl.example", certainty="exact", origin="arf")
    assert only(replace(COMPLAINT, recipients=(OTHER, "ANN@example.org"))).certainty == "exact"


def test_a_redacted_complaint_is_exact_since_our_token_says_who() -> None:
    assert only(replace(COMPLAINT, recipients=(), reporter=None)).certainty == "exact"


def test_a_complaint_that_names_another_is_a_candidate() -> None:
    assert only(replace(COMPLAINT, recipients=(OTHER,))).certainty == "candidate"


@pytest.mark.parametrize(
    "word",
    [
        *("redacted", "[redacted]", "undisclosed recipients", "redacted@example.org", "xxxx@example.org"),
        "2jmj7l5rSw0yVb/vlWAYkK/YBwk=@example.org",
    ],
)
def test_a_complaint_redacted_by_a_word_names_nobody(word: str) -> None:
    assert only(replace(COMPLAINT, recipients=(word,))).certainty == "exact"


@pytest.mark.parametrize("kind", ["not-spam", "opt-out", "fraud", "virus", "other"])
def test_a_complaint_keeps_its_type(kind: Any) -> None:
    assert only(replace(COMPLAINT, feedback_type=kind)).feedback_type == kind


def test_a_report_about_our_signatures_is_no_complaint() -> None:
    assert told(replace(COMPLAINT, feedback_type="other", stated_type="auth-failure")) == []


@pytest.mark.parametrize("report", [AutoReply(), NotUnderstood("no_report"), NotUnderstood("unreadable")])
def test_what_is_no_report_tells_nothing(report: Report) -> None:
    assert told(report) == []


# ids


@pytest.mark.parametrize("report", [about(FAILED, replace(FAILED, final_recipient=OTHER)), COMPLAINT])
def test_the_same_mail_again_gives_the_same_ids(report: Report) -> None:
    assert [event.id for event in told(report)] == [event.id for event in told(report)]


def test_another_mail_or_another_delivery_gives_other_ids() -> None:
    found = [told(about(FAILED)), told(about(FAILED), MAIL + b"x"), told(about(FAILED), recipient_no=4)]
    assert len({event.id for (event,) in found}) == 3


def test_groups_that_name_the_same_final_recipient_have_ids_of_their_own() -> None:
    twice = about(
        replace(FAILED, final_recipient=None), replace(FAILED, final_recipient=None, original_recipient=OTHER)
    )
    first, second = told(twice)
    assert first.data != second.data
    assert first.id != second.id


# receipts from a mail client


READ = DispositionReport("displayed", True, "mail.example; Mail 1", OURS, None, Original())


@pytest.mark.parametrize(("by_hand", "verdict"), [(True, "person"), (False, "unknown")])
def test_a_receipt_opens(by_hand: bool, verdict: Any) -> None:
    expected = Opened(verdict=verdict, rule="mdn-displayed", client="mail.example; Mail 1", origin="mdn")
    assert only(replace(READ, by_hand=by_hand)) == expected


@pytest.mark.parametrize(
    "report",
    [
        replace(READ, disposition="deleted"),
        replace(READ, disposition="processed"),
        replace(READ, final_recipient=OTHER),
    ],
)
def test_a_receipt_that_shows_no_reading_of_ours_tells_nothing(report: Report) -> None:
    assert told(report) == []


# which delivery


def test_the_return_path_says_which_delivery() -> None:
    claim = KEYRING.verify("return-path", KEYRING.return_path(MESSAGE, 3, OURS))
    named = Original(token=to_local_part(KEYRING.return_path(MESSAGE, 4, OURS)))
    assert delivery(DeliveryReport((FAILED,), named), claim, KEYRING) == claim


@pytest.mark.parametrize("report", [about(FAILED), COMPLAINT, READ], ids=["delivery report", "complaint", "receipt"])
def test_without_one_our_header_in_the_returned_message_does(report: Any) -> None:
    token = KEYRING.return_path(MESSAGE, 4, OURS)
    named = delivery(replace(report, original=Original(token=to_local_part(token))), None, KEYRING)
    assert named == KEYRING.verify("return-path", token)
    assert named is not None


@pytest.mark.parametrize("token", [None, "", "b+forged", to_local_part(bytes(34))])
def test_a_report_without_a_valid_token_is_about_no_delivery(token: str | None) -> None:
    assert delivery(DeliveryReport((FAILED,), Original(token=token)), None, KEYRING) is None
    assert delivery(NotUnderstood("no_report"), None, KEYRING) is None
    assert delivery(AutoReply(), None, KEYRING) is None
