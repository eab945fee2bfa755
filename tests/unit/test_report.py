"""Understanding of returned mail."""

import base64
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounce_ingest.report import (
    MAX_DEPTH,
    MAX_HEADERS,
    MAX_PARTS,
    AutoReply,
    DeliveryReport,
    FeedbackReport,
    NotUnderstood,
    Original,
    RecipientReport,
    Report,
    understand,
)

ROOT = Path(__file__).parents[2]
REPORTS = {path.stem: path.read_bytes() for path in sorted((ROOT / "tests/data/reports").glob("*.eml"))}


def delivery(name: str) -> DeliveryReport:
    report = understand(REPORTS[name])
    assert isinstance(report, DeliveryReport)
    return report


def feedback(name: str) -> FeedbackReport:
    report = understand(REPORTS[name])
    assert isinstance(report, FeedbackReport)
    return report


def only(report: DeliveryReport) -> RecipientReport:
    (recipient,) = report.recipients
    return recipient


def test_unknown_user() -> None:
    report = delivery("postfix-unknown-user")
    recipient = only(report)
    assert recipient.final_recipient == "ann@customer.example"
    assert recipient.original_recipient == "ann+shop@customer.example"
    assert recipient.action == "failed"
    assert (recipient.smtp_code, recipient.enhanced_code) == (550, "5.1.1")
    assert recipient.diagnostic.startswith("550 5.1.1 <ann@customer.example>: Recipient address rejected: User unknown")
    assert recipient.remote_mta == "mx.customer.example"
    assert (recipient.cause.bounce_class, recipient.cause.category) == ("hard", "invalid_recipient")
    assert report.original == Original("<01hq@tickets.example>", "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibae")


def test_cause_that_stands_in_the_words_to_people_only() -> None:
    report = delivery("exim-unrouteable")
    recipient = only(report)
    assert recipient.cause.category == "invalid_recipient"
    assert (recipient.smtp_code, recipient.enhanced_code) == (None, "5.0.0")
    assert recipient.diagnostic == "Unrouteable address"
    assert report.original == Original("<01hr@tickets.example>")


def test_answer_to_mail_from_is_not_about_the_recipient() -> None:
    assert only(delivery("exim-sender-refused")).cause.bounce_class == "soft"


def test_restricted_recipient() -> None:
    report = delivery("exchange-restricted")
    recipient = only(report)
    assert recipient.original_recipient == "sales@customer.example"
    assert recipient.final_recipient == "sales@internal.customer.example"
    assert recipient.remote_mta == "mail.customer.example"
    assert recipient.cause.category == "policy"
    assert report.original == Original("<01hs@tickets.example>", "exchange-token")


def test_mailbox_full_and_tried_again() -> None:
    recipient = only(delivery("mailbox-full-delayed"))
    assert (recipient.action, recipient.smtp_code, recipient.enhanced_code) == ("delayed", 452, "4.2.2")
    assert recipient.cause.category == "mailbox_full"


def test_two_recipients_with_different_outcomes() -> None:
    full, relayed = delivery("failed-and-relayed").recipients
    assert (full.final_recipient, full.action, full.cause.category) == (
        "emil@customer.example",
        "failed",
        "mailbox_full",
    )
    assert (relayed.final_recipient, relayed.action) == ("frida@customer.example", "relayed")
    assert relayed.enhanced_code == "2.1.9"


def test_original_that_is_a_bounce_does_not_count() -> None:
    report = delivery("original-is-a-bounce")
    assert only(report).final_recipient == "postmaster@customer.example"
    assert only(report).cause.category == "listed"
    assert report.original.message_id_header == "<inner-report@elsewhere.example>"
    assert understand(REPORTS["only-the-original-is-a-bounce"]) == NotUnderstood("no_report")


def test_broken_boundary() -> None:
    report = delivery("broken-boundary")
    recipient = only(report)
    assert (recipient.final_recipient, recipient.action) == ("karl@customer.example", "failed")
    assert recipient.cause.category == "relay_denied"
    assert report.original.token == "token-behind-the-broken-boundary"


def test_internationalized_report() -> None:
    report = delivery("smtputf8")
    assert only(report).final_recipient == only(report).original_recipient == "jörg@kunde.example"
    assert only(report).cause.bounce_class == "hard"
    assert report.original.token == "utf8-token"


def test_complaint() -> None:
    report = feedback("arf-abuse")
    assert (report.feedback_type, report.reporter) == ("abuse", "mail.loop.example")
    assert report.recipients == ("gus@customer.example", "hana@customer.example")
    assert report.original == Original("<01ht@tickets.example>", "arf-token")


def test_redacted_complaint_of_an_unknown_type() -> None:
    report = feedback("arf-redacted")
    assert (report.feedback_type, report.stated_type) == ("other", "unheard-of")
    assert (report.reporter, report.recipients, report.original) == ("LoopGenerator/2.0", (), Original())


def test_complaint_taken_back() -> None:
    report = feedback("arf-not-spam")
    assert (report.feedback_type, report.reporter) == ("not-spam", "192.0.2.7")
    assert report.original.token == "arf-token"


def test_opt_out() -> None:
    report = understand(REPORTS["arf-not-spam"].replace(b"not-spam", b"opt-out"))
    assert isinstance(report, FeedbackReport)
    assert report.feedback_type == "opt-out"


def test_auto_reply() -> None:
    assert understand(REPORTS["auto-reply"]) == AutoReply()


def test_auto_submitted_alone_makes_no_auto_reply() -> None:
    mail = REPORTS["auto-reply"].replace(b"Ida <ida@", b"Mail system <MAILER-DAEMON@")
    assert understand(mail) == NotUnderstood("no_recipient")


@pytest.mark.parametrize("name", REPORTS)
def test_line_ends_do_not_matter(name: str) -> None:
    assert understand(REPORTS[name].replace(b"\n", b"\r\n")) == understand(REPORTS[name])


def recipient_of(fields: str) -> RecipientReport:
    mail = f"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n{fields}\n"
    report = understand(mail.encode())
    assert isinstance(report, DeliveryReport)
    return only(report)


@pytest.mark.parametrize(
    ("stated", "status", "diagnostic", "expected"),
    [
        ("5.1.1", "5.1.1", "", (None, "5.1.1", "")),
        ("5.0.0 (permanent failure)", "5.0.0", "550 5.7.1 no", (550, "5.7.1", "550 5.7.1 no")),
        ("4.2.2 (Over quota)", "4.2.2", "", (None, "4.2.2", "Over quota")),
        ("553 Too large", "", "", (553, None, "553 Too large")),
        ("9.1.1", "", "550 no", (550, None, "550 no")),
        ("5.1.1.1", "", "550 no", (550, None, "550 no")),
    ],
)
def test_codes(stated: str, status: str, diagnostic: str, expected: tuple[int | None, str | None, str]) -> None:
    recipient = recipient_of(
        f"Final-Recipient: rfc822;a@b.example\nAction: failed\nStatus: {stated}\nDiagnostic-Code: smtp; {diagnostic}"
    )
    assert (recipient.smtp_code, recipient.enhanced_code, recipient.diagnostic) == expected


def test_exit_code_of_a_program_is_no_reply() -> None:
    recipient = recipient_of("Final-Recipient: rfc822;a@b.example\nAction: failed\nDiagnostic-Code: x-unix; 450")
    assert (recipient.smtp_code, recipient.diagnostic) == (None, "450")


@pytest.mark.parametrize(
    ("stated", "address"),
    [
        ("rfc822;user+2Btag@b.example", "user+tag@b.example"),
        ("rfc822;user+42@b.example", "user+42@b.example"),  # decoded already, and would become "userB"
        ("RFC822 ; <a@b.example>", "a@b.example"),
        ("rfc822; a@b.example (Ann)", "a@b.example"),
        ("<a@b.example>", "a@b.example"),
        ("rfc822;@hop.example:a@b.example", "a@b.example"),
        ('rfc822;"a;b c"@b.example', '"a;b c"@b.example'),
        ("rfc822;a@b.exam\n--b--\nple.net", None),  # a boundary in its midst: nobody's address
    ],
)
def test_addresses(stated: str, address: str | None) -> None:
    assert recipient_of(f"Original-Recipient: {stated}\nAction: failed").original_recipient == address


@pytest.mark.parametrize(
    ("status", "words", "action"),
    [
        ("4.4.7", "Envelope expired", "failed"),  # OpenSMTPD, of what it has taken from its queue
        ("4.4.7", "Delivery delayed", "delayed"),  # Exchange, of what it still tries
        ("4.2.2", "Quota expired", "delayed"),
    ],
)
def test_called_delayed_though_given_up(status: str, words: str, action: str) -> None:
    fields = f"Final-Recipient: rfc822;a@b.example\nAction: delayed\nStatus: {status}\nDiagnostic-Code: smtp; {words}"
    assert recipient_of(fields).action == action
    assert recipient_of(f"{fields}\nWill-Retry-Until: Wed, 4 Mar 2026 10:15:00 +0000").action == "delayed"


def notification(message: object) -> Report:
    return understand(b"From: no-reply@sns.example\nSubject: Note\n\n" + json.dumps(message).encode())


BOUNCE = {"bouncedRecipients": [{"emailAddress": "a@b.example"}], "bounceType": "Permanent"}
COMPLAINT = {"complainedRecipients": [{"emailAddress": "a@b.example"}]}


def test_notification_of_amazon_ses() -> None:
    bounce = notification({"notificationType": "Bounce", "bounce": BOUNCE})
    assert isinstance(bounce, DeliveryReport)
    assert (only(bounce).final_recipient, only(bounce).diagnostic) == ("a@b.example", "")
    complaint = notification({"notificationType": "Complaint", "complaint": COMPLAINT, "mail": {"headers": []}})
    assert isinstance(complaint, FeedbackReport)
    assert complaint.recipients == ("a@b.example",)


@pytest.mark.parametrize(
    "message",
    [
        {"notificationType": "Bounce"},
        {"notificationType": "Bounce", "bounce": {}},
        {"notificationType": "Bounce", "bounce": []},
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [{}]}},
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [{"emailAddress": 7}]}},
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": 7}},
        {"notificationType": "Bounce", "bounce": BOUNCE, "mail": None},
        {"notificationType": "Bounce", "bounce": BOUNCE, "mail": {"headers": [{"name": "X"}]}},
        {"notificationType": "Bounce", "bounce": BOUNCE, "mail": {"headers": [{"name": "X", "value": 7}]}},
        {"notificationType": "Complaint"},
        {"notificationType": "Complaint", "complaint": {"complainedRecipients": [None]}},
        {"notificationType": "Delivery", "delivery": {"recipients": [{}]}},
        {"notificationType": ["Bounce"]},
    ],
)
def test_json_that_lacks_what_amazon_ses_writes_is_none_of_its_notifications(message: object) -> None:
    report = notification(message)
    assert report != NotUnderstood("unreadable")
    assert not isinstance(report, FeedbackReport)
    assert getattr(report, "format", None) != "amazon-ses"


def test_header_of_the_report_itself_names_nobody() -> None:
    mail = b"Original-Recipient: rfc822;sender@tickets.example\n" + REPORTS["exim-unrouteable"]
    assert understand(mail) == understand(REPORTS["exim-unrouteable"])


def test_report_that_names_nobody_still_counts() -> None:
    recipient = recipient_of("Action: failed\nStatus: 5.1.1")
    assert (recipient.final_recipient, recipient.original_recipient) == (None, None)


def nested(depth: int) -> bytes:
    opening = "".join(f"Content-Type: multipart/mixed; boundary=b{level}x\n\n--b{level}x\n" for level in range(depth))
    return opening.encode() + REPORTS["exim-unrouteable"]


def test_depth_is_limited() -> None:
    assert understand(nested(MAX_DEPTH - 1)) == understand(REPORTS["exim-unrouteable"])
    assert understand(nested(MAX_DEPTH)) == NotUnderstood("too_deep")


def test_headers_are_limited() -> None:
    mail = REPORTS["exim-unrouteable"]
    assert isinstance(understand(b"X-A: b\n" * (MAX_HEADERS // 2) + mail), DeliveryReport)
    assert understand(b"X-A: b\n" * MAX_HEADERS + mail) == NotUnderstood("too_many_headers")


def test_parts_are_limited() -> None:
    mail = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * (MAX_PARTS + 1)
    assert understand(mail) == NotUnderstood("too_many_parts")


DELIVERY_STATUS = b"Content-Type: message/delivery-status\n\n"
HOSTILE = {
    "2000 nested multiparts": nested(2000),
    "50000 headers": b"X-A: b\n" * 50_000 + b"\nbody",
    "quadratic parameters": b"Content-Type: multipart/mixed; boundary=a" + b';"' * 1_000_000 + b"\n\n--a\n",
    "one long header": b"To: " + b"a@b.example," * 300_000 + b"\n\n",
    "endless continuation": b"To: a\n" + b" x\n" * 1_000_000,
    "many delimiters": b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n" * 1_000_000,
    "many delimiters on a line": b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a" * 500_000,
    "many groups": DELIVERY_STATUS + b"Action: failed\n\n" * 250_000,
    "blank lines": DELIVERY_STATUS + b" \n" * 2_000_000,
    "long words": DELIVERY_STATUS
    + b"".join(b"Action: failed\nDiagnostic-Code: smtp; %d" % n + b" user mailbox" * 300 + b"\n\n" for n in range(99)),
    "one long line": b"From: mailer-daemon@b.example\nSubject: undelivered\n\n"
    + b"a" * 1_000_000
    + b"@"
    + b"b." * 500_000,
    "many addresses": b"From: mailer-daemon@b.example\nSubject: undelivered\n\n" + b"a@b.example failed\n" * 100_000,
    "many brackets": b"From: mailer-daemon@b.example\nSubject: undelivered\n\n" + b"<" * 500_000 + b"a@b.example",
    "many addresses on a line": b"From: mailer-daemon@b.example\nSubject: undelivered\n\nfailed: "
    + b"a@b.example, " * 100_000,
    "many styles": b"From: mailer-daemon@b.example\nSubject: undelivered\nContent-Type: text/html\n\n"
    + b"<style>" * 200_000,
    "many comments": b"From: mailer-daemon@b.example\nSubject: undelivered\nContent-Type: text/html\n\n"
    + b"<!--" * 300_000,
    "many tags": b"From: mailer-daemon@b.example\nSubject: undelivered\nContent-Type: text/html\n\n" + b"<p<" * 300_000,
    "many encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 300_000 + b"\n\n",
    "blank headers": b"From: mailer-daemon@b.example\nSubject: undelivered\n\n" + b"Received: a\n" * 200_000,
    "mistyped parameters": b"Content-Type: multipart/mixed; boundary*0=a; boundary*=b; boundary*%s=c\n\nx"
    % (b"9" * 5000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_bounded(name: str) -> None:
    started = time.process_time()
    understand(HOSTILE[name])
    assert time.process_time() - started < 5


@given(st.binary())
def test_total_on_arbitrary_bytes(mail: bytes) -> None:
    understand(mail)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A report of ours of which some spans are replaced by bytes or by a span of another report."""
    mail = draw(st.sampled_from(sorted(REPORTS.values())))
    for _ in range(draw(st.integers(1, 4))):
        other = draw(st.sampled_from(sorted(REPORTS.values())))
        start, end = sorted(draw(st.tuples(st.integers(0, len(mail)), st.integers(0, len(mail)))))
        end = min(end, start + draw(st.sampled_from([0, 1, 40, 400])))
        at = draw(st.integers(0, len(other)))
        mail = mail[:start] + draw(st.binary(max_size=8) | st.just(other[at : at + 60])) + mail[end:]
    return mail


@given(mutations())
@settings(max_examples=400, deadline=None)
def test_total_on_mutated_reports(mail: bytes) -> None:
    report = understand(mail)
    if isinstance(report, DeliveryReport):
        assert report.recipients
        for recipient in report.recipients:  # no lone surrogates, which no database takes
            f"{recipient.diagnostic}{recipient.final_recipient}{recipient.original_recipient}".encode()


def test_parts_without_a_type_may_be_encoded_as_a_whole() -> None:
    inner = b"--b\nContent-Type: text/plain\n\nHello\n--b--\n"
    mail = b"From: mailer-daemon@example.org\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(inner)
    assert understand(mail) == NotUnderstood("no_report")
