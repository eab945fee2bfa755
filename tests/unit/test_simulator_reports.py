"""What the simulator sends back is understood as what real servers send back."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

import pytest

from bounce_ingest.facts import facts
from bounce_ingest.report import AutoReply, DeliveryReport, FeedbackReport, Original, understand
from local_stack.reports import HOST, Mail, absence, complaint, delivery_report, feedback_report, returned
from sender.compose import compose
from sender.copies import links
from tests.unit.samples import KEYRING, MESSAGE, NOON, request
from tests.unit.test_requests import EVERYTHING
from tracepost import tokens
from tracepost.events import Bounced, Complained, FeedbackType
from tracepost.tokens import Claim

RECIPIENT = "ann@example.org"
UNKNOWN = f"550 5.1.1 <{RECIPIENT}>: Recipient address rejected: User unknown in local recipient table"
OWN = links(KEYRING, MESSAGE, 0, RECIPIENT, "full", "bounces.example", "https://pixel.example")
RETURN_PATH = f"{OWN.return_token}@bounces.example"

originals = pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "äöü\n" * 300},
        {"html": "<p>ä</p>"},
        {"subject": "Ä" * 200},
        {"headers": {"X-Long": "a" * 900}},
        EVERYTHING,
    ],
    ids=["text", "long text", "html", "long subject", "long header", "everything"],
)


def original(fields: dict[str, Any]) -> bytes:
    return compose(request(**fields), OWN, NOON)


def claim() -> Claim:
    found = KEYRING.verify("return-path", tokens.from_local_part(OWN.return_token))
    assert found is not None
    return found


@originals
def test_a_returned_mail_is_a_hard_bounce_of_its_delivery(fields: dict[str, Any]) -> None:
    mail = delivery_report(original(fields), RETURN_PATH, RECIPIENT, "5.1.1", UNKNOWN)
    report = understand(mail)
    assert isinstance(report, DeliveryReport)
    (recipient,) = report.recipients
    assert (recipient.final_recipient, recipient.action) == (RECIPIENT, "failed")
    assert (recipient.smtp_code, recipient.enhanced_code, recipient.diagnostic) == (550, "5.1.1", UNKNOWN)
    assert report.original == Original(OWN.rfc_message_id, OWN.return_token)
    (event,) = facts(report, claim(), KEYRING, mail)
    assert isinstance(event.data, Bounced)
    assert (event.data.bounce_class, event.data.category, event.data.certainty) == (
        "hard",
        "invalid_recipient",
        "exact",
    )


@originals
def test_a_complaint_is_one_about_its_delivery(fields: dict[str, Any]) -> None:
    mail = feedback_report(original(fields), RETURN_PATH, RECIPIENT)
    report = understand(mail)
    assert report == FeedbackReport(
        "abuse", "abuse", HOST, (RECIPIENT,), Original(OWN.rfc_message_id, OWN.return_token)
    )
    (event,) = facts(report, claim(), KEYRING, mail)
    assert isinstance(event.data, Complained)
    assert (event.data.feedback_type, event.data.certainty) == ("abuse", "exact")


@pytest.mark.parametrize("kind", ["abuse", "fraud", "virus", "not-spam", "opt-out", "other"])
def test_a_complaint_of_any_type_is_understood(kind: FeedbackType) -> None:
    report = understand(feedback_report(original({}), RETURN_PATH, RECIPIENT, kind))
    assert isinstance(report, FeedbackReport)
    assert report.feedback_type == kind


@originals
def test_a_redacted_complaint_names_nobody_but_the_token(fields: dict[str, Any]) -> None:
    mail = complaint(Mail(RETURN_PATH, RECIPIENT, original({"to": [RECIPIENT]} | fields)), redacted=True)
    assert RECIPIENT.encode() not in mail
    report = understand(mail)
    assert report == FeedbackReport("abuse", "abuse", HOST, (), Original(OWN.rfc_message_id, OWN.return_token))
    (event,) = facts(report, claim(), KEYRING, mail)
    assert isinstance(event.data, Complained)
    assert event.data.certainty == "exact"


@originals
def test_a_report_about_somebody_else_is_a_dead_forward(fields: dict[str, Any]) -> None:
    mail = returned(Mail(RETURN_PATH, RECIPIENT, original(fields)), "bob@elsewhere.test")
    (event,) = facts(understand(mail), claim(), KEYRING, mail)
    assert isinstance(event.data, Bounced)
    assert (event.data.bounce_class, event.data.forwarded_to) == ("soft", "bob@elsewhere.test")


@originals
def test_an_absence_is_no_bounce(fields: dict[str, Any]) -> None:
    assert understand(absence(Mail(RETURN_PATH, RECIPIENT, original(fields)))) == AutoReply()


@pytest.mark.parametrize(
    ("code", "reply", "bounce_class"),
    [
        ("5.2.2", "552 5.2.2 Mailbox full", "soft"),
        ("5.7.1", "554 5.7.1 Message rejected: classified as spam", "spam"),
        ("5.1.1", UNKNOWN, "hard"),
    ],
)
def test_the_reply_decides_the_class(code: str, reply: str, bounce_class: str) -> None:
    report = understand(delivery_report(original({}), RETURN_PATH, RECIPIENT, code, reply))
    assert isinstance(report, DeliveryReport)
    assert report.recipients[0].cause.bounce_class == bounce_class


@pytest.mark.parametrize(
    "mail",
    [
        delivery_report(original({}), RETURN_PATH, RECIPIENT, "5.1.1", UNKNOWN),
        feedback_report(original({}), RETURN_PATH, RECIPIENT),
        absence(Mail(RETURN_PATH, RECIPIENT, original({}))),
    ],
    ids=["delivery report", "feedback report", "absence"],
)
def test_a_report_is_addressed_to_the_return_path_and_travels_as_smtp_wants_it(mail: bytes) -> None:
    head = message_from_bytes(mail)
    assert head["To"] == RETURN_PATH
    assert head.get_content_type() in ("multipart/report", "text/plain")
    assert head["Auto-Submitted"]
    rest = mail.replace(b"\r\n", b"")
    assert b"\n" not in rest
    assert b"\r" not in rest
    assert max(map(len, mail.split(b"\r\n"))) <= 998
