"""Constructed mails in the formats of many servers, providers and languages, with their truth."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounce_ingest.reading.formats import Format, formats
from bounce_ingest.reading.parts import TooMuch, leaves, whole
from bounce_ingest.reading.rich_text import plain_text
from bounce_ingest.report import (
    AutoReply,
    DeliveryReport,
    DispositionReport,
    FeedbackReport,
    NotUnderstood,
    Report,
    understand,
)
from tests.bounces.corpus import BOUNCES, Mail, read
from tests.bounces.readers import FORMATS, ours
from tests.bounces.score import is_exact, score

MAILS = read(Path(__file__).parents[2] / "tests/data/returned")
KINDS: dict[str, type | tuple[type, ...]] = {
    "arf": FeedbackReport,
    "delivered": DeliveryReport,
    "auto-reply": AutoReply,
    "mdn": DispositionReport,
    "non-bounce": (AutoReply, NotUnderstood),
}
each_mail = pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.path.stem)


@each_mail
def test_all_that_failed_and_nobody_else(mail: Mail) -> None:
    (reading,) = ours([mail])
    assert is_exact(mail, reading), reading
    flags = {
        next(iter(names & spellings)): dead
        for names, dead in reading.recipients
        for spellings in mail.recipients
        if names & spellings
    }
    for spellings, dead in zip(mail.recipients, mail.dead, strict=True):
        assert dead is None or flags[next(iter(spellings & flags.keys()))] == dead


@each_mail
def test_the_kind(mail: Mail) -> None:
    expected = DeliveryReport if mail.kind in BOUNCES else KINDS[mail.kind]
    assert isinstance(understand(mail.content), expected)


@each_mail
def test_addresses_and_codes_stand_in_the_mail(mail: Mail) -> None:
    assert_told_by(understand(mail.content), everything(mail.content))


@pytest.mark.parametrize("name", ["gmail-german", "gmail-thai", "gmail-html", "masqmail"])
def test_a_reply_that_stands_apart_from_the_recipient_is_its_reason(name: str) -> None:
    report = next(understand(mail.content) for mail in MAILS if mail.path.stem == name)
    assert isinstance(report, DeliveryReport)
    for each in report.recipients:
        assert (each.smtp_code, each.enhanced_code) == (550, "5.1.1")
        assert "550 5.1.1" in each.diagnostic


def test_a_daemon_is_understood_in_a_language_of_which_no_word_is_known() -> None:
    header = b"From: MAILER-DAEMON@mx.example\nTo: sender@b.example\nSubject: Xyzzy\n\n"
    returned = b"\nReceived: from b.example\nFrom: sender@b.example\nTo: ann@customer.example\nSubject: x\n\nHi\n"
    for text in (
        b"Xyzzy plugh:\n\n  ann@customer.example\n    Plover\n" + returned,
        b"Xyzzy\n\nann@customer.example\n550 5.1.1 Plover\n",
    ):
        report = understand(header + text)
        assert isinstance(report, DeliveryReport)
        assert [each.final_recipient for each in report.recipients] == ["ann@customer.example"]
    assert understand(header + b"Xyzzy plugh:\n\n  ann@customer.example\n    Plover\n") == NotUnderstood("no_report")


def everything(content: bytes) -> str:
    """All that a mail may be said to tell, with and without its encodings undone."""
    try:
        parts = list(leaves(whole(content)))
    except TooMuch:
        parts = []
    read = [text for part in parts for text in (part.decoded(), part.text(), plain_text(part.text()))]
    return "\n".join([content.decode("utf-8", "replace"), content.decode("latin-1"), *read])


def assert_told_by(report: Report, text: str) -> None:
    if isinstance(report, DeliveryReport):
        for each in report.recipients:
            for address in filter(None, (each.final_recipient, each.original_recipient)):
                assert address in text
            assert each.smtp_code is None or str(each.smtp_code) in text
            assert each.enhanced_code is None or each.enhanced_code in text


@pytest.mark.parametrize("entry", formats(), ids=lambda entry: entry.name)
def test_every_format_has_a_mail_that_it_reads(entry: Format) -> None:
    assert entry.name in {reading.by for reading in ours(MAILS)}


def test_formats_that_nobody_has_described_are_found_by_their_shape() -> None:
    without = score(MAILS, ours(MAILS, FORMATS))
    assert without.found >= 0.95 * without.found_of
    assert without.given_for_non_bounces == 0


PIECES = st.sampled_from(
    [line for mail in MAILS for line in mail.content.splitlines(keepends=True) if len(line) < 200]
    + [b"\n", b"--=_b1\n", b"<ann@customer.example>:\n", b"Final-Recipient: rfc822; a@b.example\n", b"Action: failed\n"]
)


@given(st.lists(PIECES, max_size=40).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_total_and_truthful_on_lines_of_any_mails(mail: bytes) -> None:
    report = understand(mail)
    assert report != NotUnderstood("unreadable")
    assert_told_by(report, everything(mail))


@pytest.mark.parametrize("times", [20, 200])
def test_time_grows_with_the_size_alone(times: int) -> None:
    line = b"<ann%d@customer.example>: 550 5.1.1 user unknown, says mx.customer.example\n"
    mail = b"From: mailer-daemon@b.example\nSubject: undelivered\n\n" + b"".join(
        line % number for number in range(10 * times)
    )
    started = time.process_time()
    understand(mail)
    assert time.process_time() - started < 0.002 * times + 0.5
