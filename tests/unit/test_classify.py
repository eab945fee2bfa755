"""What a refusal means."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracepost.bounces.classify import Cause, Rule, Stage, classify, codes, rules

CATEGORIES = {
    "hard": {"invalid_recipient", "bad_domain", "moved", "null_mx"},
    "spam": {"spam_content", "spam_block", "virus", "attachment", "content"},
    "undetermined": {"other"},
}
CODES = st.none() | st.sampled_from(["4.0.0", "4.2.2", "5.0.0", "5.1.0", "5.1.1", "5.1.2", "5.1.6", "5.4.1", "5.4.4"])
PHRASES = ["user unknown", "no such address", "mailbox unavailable", "domain not found", "has moved", "unrouteable"]
PIECES = [
    "host",
    "domain",
    "not",
    "exist",
    "invalid",
    "recipient",
    "listed",
    "<ann@b.example>",
    "550",
    "5.1.1",
    ":",
    ".",
]
WORDS = st.sampled_from([*PHRASES, *PIECES])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.cause.rule)
def test_every_rule_decides_its_own_example(rule: Rule) -> None:
    assert classify(**rule.example) == rule.cause


@given(
    st.sampled_from([rule for rule in rules() if rule.text]).flatmap(lambda rule: st.sampled_from(rule.text)), st.data()
)
def test_what_a_pattern_matches_begins_as_is_looked_for(
    wording: tuple[tuple[str, ...], re.Pattern[str]], data: st.DataObject
) -> None:
    beginnings, pattern = wording
    found = pattern.search(data.draw(st.from_regex(pattern)))
    assert found is not None
    assert not beginnings or found[0].startswith(beginnings)


def test_every_rule_has_its_own_name() -> None:
    names = [rule.cause.rule for rule in rules()]
    assert len(names) == len(set(names))


def test_class_follows_from_category() -> None:
    for cause in (rule.cause for rule in rules()):
        expected = next((name for name, categories in CATEGORIES.items() if cause.category in categories), "soft")
        assert cause.bounce_class == expected


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("550 5.1.1 <eve@example.org>: Sender address rejected: Domain not found", "sender_refused"),
        ("504 5.5.2 <box>: Helo command rejected: Host not found", "protocol"),
        ("450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.4]", "no_ptr"),
        ("550 5.7.1 Service unavailable, client [192.0.2.4] listed at xbl.list.example; user unknown", "listed"),
        ("550 5.1.0 Sender verify failed for <eve@example.org>: 550 unknown user", "sender_refused"),
        ("550 5.7.1 Too many invalid recipients from your address", "rate"),
        ("550 5.7.27 Sender address has null MX", "sender_refused"),
        ("554 5.7.1 <ann@example.org>: Relay access denied", "relay_denied"),
        ("554 Your IP address is invalid or not found in our allow list", "other"),
        ("550 5.7.1 Authentication required to send to this user", "auth"),
        ("451 4.3.0 remote recipient server returned unknown error", "system"),
        ("550 5.2.0 Mailbox is not accepting mail for policy reasons", "mailbox_disabled"),
        ("550 5.2.1 Account suspended", "mailbox_disabled"),
        ("452 4.2.2 Mailbox full", "mailbox_full"),
        ("552 5.2.2 mailbox full", "mailbox_full"),
        ("Host or domain name not found. Name service error for name=a.example type=MX: try again", "dns_temporary"),
    ],
)
def test_blame_of_others_is_no_dead_address(text: str, category: str) -> None:
    cause = classify(text)
    assert cause.category == category
    assert cause.bounce_class != "hard"


@pytest.mark.parametrize(
    "text",
    [
        "550 5.7.1 <ann@example.org>: Recipient address rejected: User unknown in relay recipient table",
        "550 5.2.1 That mailbox does not exist",
        "550-5.1.1 The email account that you tried to reach\r\n550-5.1.1 does not exist",
        "550 This person no longer works here",
        "Unrouteable address",
        "550 unknown local part ann in <ann@example.org>",
        "550 No such user here",
        "554 This user doesn't have a mail.example account",
        "550 5.1.2 Host unknown",
        "450 4.1.1 <ann@example.org>: User unknown",
    ],
)
def test_dead_address(text: str) -> None:
    assert classify(text, stage="rcpt").bounce_class == "hard"


@pytest.mark.parametrize(
    ("text", "bounce_class"),
    [
        ("550 5.1.1 <ann@example.org>: User unknown", "hard"),
        ("550 5.7.1 <ann@example.org>: User unknown", "soft"),
        ("550 5.2.1 <ann@example.org>... User unknown", "soft"),
        ("550 No such user here", "soft"),
        ("550 This account does not exist", "hard"),
        ("Sorry, no mailbox here by that name. (#5.7.17)", "hard"),
    ],
)
def test_that_a_user_is_unknown_is_proven_by_the_code_or_the_command(text: str, bounce_class: str) -> None:
    assert classify(text).bounce_class == bounce_class


def test_words_of_the_address_say_nothing() -> None:
    assert classify("554 <spam.user.unknown@mailbox-full.example>: no").category == "other"


@pytest.mark.parametrize(
    ("stage", "bounce_class"), [("rcpt", "hard"), ("mail", "soft"), ("data", "soft"), (None, "undetermined")]
)
def test_bare_550_means_what_it_answers(stage: Stage | None, bounce_class: str) -> None:
    assert classify("550 no", stage=stage).bounce_class == bounce_class


@given(st.lists(WORDS).map(" ".join), CODES, st.sampled_from(["connect", "ehlo", "mail"]))
def test_nothing_said_before_rcpt_condemns_the_recipient(text: str, enhanced: str | None, stage: Stage) -> None:
    cause = classify(text, 550, enhanced, stage)
    assert cause.bounce_class != "hard" or cause.category == "null_mx"


@given(st.text(), st.none() | st.integers(200, 599), CODES)
def test_total(text: str, smtp_code: int | None, enhanced_code: str | None) -> None:
    assert isinstance(classify(text, smtp_code, enhanced_code), Cause)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550 5.1.1 no", (550, "5.1.1")),
        ("550-5.7.26 no\r\n550 5.7.26 no", (550, "5.7.26")),
        ("host mx.example[192.0.2.1] said: 452 4.3.1 later (in reply to DATA command)", (452, "4.3.1")),
        ("554 5.7.1.", (554, "5.7.1")),
        ("#550 5.4.310 DNS", (550, "5.4.310")),
        ("421", (421, None)),
        ("5.1.1 unknown", (None, "5.1.1")),
        ("limit is 500 messages; size: 550 kB; from 5.1.1.200 by MOS 4.4.4b", (None, None)),
        ("connect to mx.example[192.0.2.1]:25: Connection timed out", (None, None)),
        ("", (None, None)),
    ],
)
def test_codes_are_read_and_never_invented(text: str, expected: tuple[int | None, str | None]) -> None:
    assert codes(text) == expected


@given(st.lists(WORDS | st.sampled_from(["5.7", "250", "#", "-", "=", "4.2.2", "\n"])).map(" ".join))
def test_codes_stand_in_the_text(text: str) -> None:
    smtp, enhanced = codes(text)
    assert smtp is None or str(smtp) in text
    assert enhanced is None or enhanced in text
