"""What becomes of a delivery by what servers really answer, each case by its name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from sender.outcome import Attempt, Lost, Reply, Result, Unreachable, decide, is_final
from tests.unit.samples import NOON
from tracepost.bounces.classify import Stage
from tracepost.events import Bounced, Deferred, Refusal

REMOTE = "relay.example:25"
WAITS = (1, 5, 15, 30, 60, 120, 240, 480)
FIRST = Attempt(1, NOON + timedelta(days=3), outcome_unknown=False, park_unknown=False, retry_minutes=WAITS)


class Case(NamedTuple):
    """One reply, and what is told of it."""

    stage: Stage
    code: int
    text: str
    told: type[Refusal]
    bounce_class: str
    category: str


CASES = {
    # the address is dead
    "user unknown": Case("rcpt", 550, "5.1.1 <ann@a.example>: User unknown", Bounced, "hard", "invalid_recipient"),
    "550 without a word": Case("rcpt", 550, "", Bounced, "hard", "invalid_recipient"),
    "user unknown, told late": Case("data", 550, "5.1.1 User unknown", Bounced, "hard", "invalid_recipient"),
    "no such domain": Case("rcpt", 550, "5.1.2 Host unknown: Domain not found", Bounced, "hard", "bad_domain"),
    "null MX": Case("rcpt", 556, "5.1.10 Recipient domain has a null MX", Bounced, "hard", "null_mx"),
    "moved": Case("rcpt", 551, "5.1.6 User has moved", Bounced, "hard", "moved"),
    # the message, or the recipient's wish
    "spam at the final dot": Case("data", 554, "5.7.1 Classified as spam", Bounced, "spam", "spam_content"),
    "554 at DATA without a word": Case("data", 554, "", Bounced, "spam", "spam_content"),
    "virus": Case("data", 550, "5.7.1 Virus detected", Bounced, "spam", "virus"),
    "blocked by the recipient": Case("rcpt", 550, "5.7.1 Sender blocked by recipient", Bounced, "spam", "spam_block"),
    "attachment": Case("data", 552, "5.7.0 File type not allowed", Bounced, "spam", "attachment"),
    # the mailbox: final for this mail, not for the address
    "552 at DATA": Case("data", 552, "", Bounced, "soft", "too_large"),
    "552 at RCPT": Case("rcpt", 552, "", Bounced, "soft", "mailbox_full"),
    "552 at DATA, but full": Case("data", 552, "5.2.2 Mailbox full", Bounced, "soft", "mailbox_full"),
    "SIZE exceeded at MAIL": Case("mail", 552, "5.3.4 Message size exceeds limit", Bounced, "soft", "too_large"),
    "suspended": Case("rcpt", 550, "5.2.1 Account suspended", Bounced, "soft", "mailbox_disabled"),
    "mailbox full for now": Case("rcpt", 452, "4.2.2 Mailbox full", Deferred, "soft", "mailbox_full"),
    # us: final where the digit says so, never held against the recipient
    "554 greeting": Case("connect", 554, "", Bounced, "soft", "listed"),
    "listed": Case("rcpt", 554, "5.7.1 Blocked using zen.spamhaus.org", Bounced, "soft", "listed"),
    "listed, user named": Case("rcpt", 550, "5.7.1 Listed at x.example; user unknown", Bounced, "soft", "listed"),
    "bad reputation": Case("data", 550, "5.7.1 Your server's reputation is bad", Bounced, "soft", "ip_reputation"),
    "no reverse name": Case("rcpt", 550, "5.7.25 No PTR record", Bounced, "soft", "no_ptr"),
    "DMARC": Case("data", 550, "5.7.26 Unauthenticated mail, DMARC policy", Bounced, "soft", "auth"),
    "authentication wanted": Case("mail", 530, "5.7.0 Authentication required", Bounced, "soft", "auth"),
    "policy": Case("data", 550, "5.7.1 Rejected for policy reasons", Bounced, "soft", "policy"),
    "sender refused": Case("mail", 553, "5.1.8 Domain of sender does not exist", Bounced, "soft", "sender_refused"),
    "550 at MAIL without a word": Case("mail", 550, "", Bounced, "soft", "sender_refused"),
    "relay denied": Case("rcpt", 554, "5.7.1 Relay access denied", Bounced, "soft", "relay_denied"),
    "STARTTLS wanted": Case("mail", 530, "5.7.0 Must issue a STARTTLS command first", Bounced, "soft", "tls_required"),
    "too many, for good": Case("rcpt", 550, "5.7.1 Too many messages from you", Bounced, "soft", "rate"),
    "HELO refused": Case("ehlo", 504, "5.5.2 Helo command rejected", Bounced, "soft", "protocol"),
    # before RCPT the server knows of no recipient, before DATA of no message
    "521 greeting": Case("connect", 521, "relay.example does not accept mail", Bounced, "soft", "system"),
    "null MX of the sender": Case("mail", 550, "5.1.10 null MX", Bounced, "soft", "system"),
    "spammer, to the greeting": Case("connect", 554, "No spam here", Bounced, "soft", "ip_reputation"),
    # for the time being
    "greylisted": Case("rcpt", 451, "4.7.1 Greylisted", Deferred, "soft", "greylisted"),
    "421 greeting": Case("connect", 421, "4.3.2 Too busy", Deferred, "soft", "overloaded"),
    "too many connections": Case("connect", 421, "4.7.0 Too many connections", Deferred, "soft", "rate"),
    "421 at EHLO": Case("ehlo", 421, "Shutting down", Deferred, "soft", "overloaded"),
    "421 at RCPT": Case("rcpt", 421, "4.4.2 idle", Deferred, "soft", "network"),
    "421 at the final dot": Case("data", 421, "4.3.0 Shutting down", Deferred, "soft", "system"),
    "451 at the final dot": Case("data", 451, "4.3.0 Internal server error", Deferred, "soft", "system"),
    "450 without a word": Case("rcpt", 450, "", Deferred, "soft", "system"),
    "DNS trouble": Case("rcpt", 450, "4.4.3 Name service error, try again", Deferred, "soft", "dns_temporary"),
    "DMARC, for now": Case("data", 451, "4.7.26 Unauthenticated mail", Deferred, "soft", "auth"),
    # the digit decides, whatever the words and the enhanced code say
    "user unknown, for now": Case("rcpt", 450, "5.1.1 User unknown", Deferred, "hard", "invalid_recipient"),
    "greylisted, for good": Case("rcpt", 550, "4.7.1 Greylisted", Bounced, "soft", "greylisted"),
    "spam, for now": Case("data", 451, "4.7.1 Looks like spam", Deferred, "spam", "spam_content"),
    "not understood": Case("rcpt", 554, "mañana", Bounced, "undetermined", "other"),
    "two replies in one": Case("rcpt", 550, "first line\n5.1.1 second line", Bounced, "hard", "invalid_recipient"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_refusal_is_told_as_what_it_is(case: Case) -> None:
    outcome = decide(Reply(case.stage, case.code, case.text, REMOTE), FIRST, NOON)
    assert isinstance(outcome.data, case.told)
    assert outcome.state == ("done" if case.told is Bounced else "waiting")
    assert (outcome.data.bounce_class, outcome.data.category) == (case.bounce_class, case.category)
    assert not outcome.outcome_unknown
    assert outcome.said == f"{case.code} {case.text}".strip()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_was_refused_for_the_time_being_ends_soft(case: Case) -> None:
    late = replace(FIRST, number=20, expires_at=NOON)
    data = decide(Reply(case.stage, case.code, case.text, REMOTE), late, NOON).data
    assert isinstance(data, Bounced)
    if case.told is Deferred:
        assert (data.bounce_class, data.category, data.diagnostic) == ("soft", "expired", case.text)
    else:
        assert (data.bounce_class, data.category) == (case.bounce_class, case.category)


@pytest.mark.parametrize(
    "result",
    [
        Lost("the session was lost after DATA", REMOTE),
        Lost("the sender stopped", REMOTE, ours=True),
        Reply("data", 354, "go on", REMOTE),
        Reply("data", 0, "\x16\x03\x01", REMOTE),
        Reply("data", 999, "?", REMOTE),
    ],
    ids=["lost after the dot", "the sender died", "354 to the dot", "garbage to the dot", "no code of SMTP"],
)
def test_where_the_message_may_have_been_taken_the_outcome_is_unknown(result: Result) -> None:
    again = decide(result, FIRST, NOON)
    assert (again.state, again.outcome_unknown) == ("waiting", True)
    parked = decide(result, replace(FIRST, park_unknown=True), NOON)
    assert (parked.state, parked.outcome_unknown) == ("parked", True)


@pytest.mark.parametrize(
    ("result", "final"),
    [
        (Reply("data", 250, "2.0.0 OK", REMOTE), True),
        (Reply("data", 550, "5.7.1 no", REMOTE), True),
        (Reply("data", 451, "4.3.0 later", REMOTE), False),
        (Reply("data", 354, "go on", REMOTE), False),
        (Reply("rcpt", 550, "5.1.1 no", REMOTE), False),
        (Lost("lost", REMOTE), False),
        (Unreachable("refused", REMOTE), False),
    ],
)
def test_only_a_decision_after_the_final_dot_holds_whoever_has_the_lease(result: Result, final: bool) -> None:
    assert is_final(result) == final


def test_the_session_is_told_with_what_it_delivered() -> None:
    reply = Reply("data", 250, "2.0.0 OK", REMOTE, remote_ip="192.0.2.1", tls="TLSv1.3", duration=0.25)
    told = decide(reply, FIRST, NOON).data.model_dump()
    assert (told["remote_ip"], told["tls"], told["duration"]) == ("192.0.2.1", "TLSv1.3", 0.25)


def test_three_days_are_used_to_their_end() -> None:
    attempt, now, waits = FIRST, NOON, []
    while (due := decide(Reply("rcpt", 451, "later", REMOTE), attempt, now).due_at) is not None:
        waits.append((due - now) / timedelta(minutes=1))
        attempt, now = replace(attempt, number=attempt.number + 1), due
    assert waits == [*WAITS, *[480] * 7]
