"""What an attempt's result means: the event that tells it, and what becomes of the delivery."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.outcome import (
    Attempt,
    Expired,
    GivenUp,
    Lost,
    Outcome,
    Reply,
    Result,
    Suppressed,
    Unreachable,
    Unroutable,
    Unsendable,
    decide,
    is_final,
)
from tests.unit.samples import MESSAGE, NOON, modest, sample
from tracepost.bounces.classify import Cause, Stage
from tracepost.events import Bounced, Data, Deferred, Delivered, Rejected, encode

WAITS = (1.0, 5.0, 30.0)
REMOTE = "mx.example.org"
FIRST = Attempt(1, NOON + timedelta(days=3), outcome_unknown=False, park_unknown=False, retry_minutes=WAITS)
LAST = replace(FIRST, number=9, expires_at=NOON + timedelta(seconds=10))

OK = Reply("data", 250, "2.0.0 OK: queued as 7", REMOTE)
GREYLISTED = Reply("rcpt", 451, "4.7.1 Greylisted, try again later", REMOTE)
UNKNOWN_USER = Reply("rcpt", 550, "5.1.1 <ann@example.org>: User unknown", REMOTE)
SPAM = Reply("data", 554, "5.7.1 Message rejected: classified as spam", REMOTE)
REFUSED = Unreachable("no session: connection refused", REMOTE)
LOST = Lost("the session was lost after DATA", REMOTE)
SUPPRESSED = Suppressed(Rejected(reason="hard_bounce", evidence_event=MESSAGE, since=NOON))

STAGES: tuple[Stage, ...] = ("connect", "ehlo", "mail", "rcpt", "data")
results = st.one_of(
    st.builds(
        Reply,
        stage=st.sampled_from(STAGES),
        code=st.integers(-1, 999),
        text=st.text(max_size=60) | st.sampled_from(["4.2.2 mailbox full", "5.1.1 user unknown", "5.7.1 spam", "\0"]),
        remote=st.just(REMOTE),
    ),
    st.builds(Unreachable, reason=st.text(max_size=20), remote=st.just(REMOTE)),
    st.builds(Unroutable, st.text(max_size=20), st.just(Cause("hard", "bad_domain", "no-such-domain")), st.booleans()),
    st.builds(Lost, reason=st.text(max_size=20), remote=st.just(REMOTE)),
    st.just(SUPPRESSED),
    st.just(Expired()),
    st.builds(Unsendable, reason=st.text(max_size=20)),
    st.builds(GivenUp, by=st.text(max_size=20), reason=st.text(max_size=20)),
)
attempts = st.builds(
    Attempt,
    number=st.integers(1, 50),
    expires_at=st.timedeltas(timedelta(minutes=-10), timedelta(days=2)).map(lambda ahead: NOON + ahead),
    outcome_unknown=st.booleans(),
    park_unknown=st.booleans(),
    retry_minutes=st.lists(st.floats(0.01, 1000), min_size=1, max_size=6).map(tuple),
    spread=st.floats(0.9, 1.1),
    said=st.none() | st.text(max_size=20),
)


def fields(data: Data, *names: str) -> tuple[object, ...]:
    return tuple(getattr(data, name) for name in names)


def test_an_accepted_message_is_delivered() -> None:
    outcome = decide(OK, FIRST, NOON)
    assert (outcome.state, outcome.due_at, outcome.outcome_unknown) == ("done", None, False)
    assert outcome.data == Delivered(
        attempt=1, smtp_code=250, enhanced_code="2.0.0", response=OK.text, remote_mta=REMOTE, origin="smtp"
    )


def test_a_definite_refusal_bounces_at_once() -> None:
    outcome = decide(UNKNOWN_USER, FIRST, NOON)
    assert (outcome.state, outcome.due_at) == ("done", None)
    assert isinstance(outcome.data, Bounced)
    assert fields(outcome.data, "bounce_class", "category") == ("hard", "invalid_recipient")
    assert fields(outcome.data, "smtp_code", "enhanced_code", "diagnostic") == (550, "5.1.1", UNKNOWN_USER.text)
    assert fields(outcome.data, "attempt", "remote_mta", "origin", "certainty") == (1, REMOTE, "smtp", "exact")
    assert outcome.data.rule
    assert not outcome.data.outcome_unknown


def test_refused_content_is_spam() -> None:
    data = decide(SPAM, FIRST, NOON).data
    assert isinstance(data, Bounced)
    assert data.bounce_class == "spam"


def test_a_refusal_for_the_time_being_is_tried_again() -> None:
    outcome = decide(GREYLISTED, FIRST, NOON)
    assert outcome.state == "waiting"
    assert isinstance(outcome.data, Deferred)
    assert outcome.data.next_attempt_at == outcome.due_at
    assert fields(outcome.data, "bounce_class", "smtp_code", "enhanced_code") == ("soft", 451, "4.7.1")
    assert fields(outcome.data, "parked", "outcome_unknown") == (False, False)


def test_no_session_is_tried_again() -> None:
    outcome = decide(REFUSED, FIRST, NOON)
    assert outcome.state == "waiting"
    assert isinstance(outcome.data, Deferred)
    assert fields(outcome.data, "category", "smtp_code", "diagnostic") == ("network", None, REFUSED.reason)
    assert not outcome.outcome_unknown


def test_no_tls_and_no_login_are_not_the_networks_fault() -> None:
    result = Unreachable("no session: expired", REMOTE, met=False, category="tls_required", rule="no-tls")
    data = decide(result, FIRST, NOON).data
    assert isinstance(data, Deferred)
    assert fields(data, "bounce_class", "category", "rule") == ("soft", "tls_required", "no-tls")


def test_a_domain_that_takes_no_mail_bounces_at_once() -> None:
    result = Unroutable("5.1.10 not sent: null MX", Cause("hard", "null_mx", "null-mx"), lasting=True)
    outcome = decide(result, FIRST, NOON)
    assert (outcome.state, type(outcome.data)) == ("done", Bounced)
    assert fields(outcome.data, "bounce_class", "category", "rule") == ("hard", "null_mx", "null-mx")
    assert fields(outcome.data, "enhanced_code", "remote_mta", "diagnostic") == ("5.1.10", None, result.reason)
    assert not is_final(result)


def test_trouble_with_dns_is_tried_again() -> None:
    result = Unroutable("4.4.3 not sent: SERVFAIL", Cause("soft", "dns_temporary", "dns-trouble"), lasting=False)
    outcome = decide(result, FIRST, NOON)
    assert (outcome.state, type(outcome.data)) == ("waiting", Deferred)
    assert fields(outcome.data, "category", "enhanced_code") == ("dns_temporary", "4.4.3")


@pytest.mark.parametrize("code", [-1, 0, 199, 200, 250, 300, 354, 399, 400, 421, 499, 600])
def test_whatever_is_no_success_and_no_definite_refusal_is_tried_again(code: int) -> None:
    assert decide(replace(GREYLISTED, code=code), FIRST, NOON).state == "waiting"


@pytest.mark.parametrize(("code", "kind"), [(200, Delivered), (299, Delivered), (500, Bounced), (599, Bounced)])
def test_the_first_digit_decides(code: int, kind: type[Data]) -> None:
    outcome = decide(Reply("data", code, "words", REMOTE), FIRST, NOON)
    assert (outcome.state, type(outcome.data)) == ("done", kind)


@pytest.mark.parametrize("code", [-1, 0, 199, 600, 999])
@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_a_reply_that_is_no_smtp_is_recorded_too(stage: Stage, code: int) -> None:
    assert decide(Reply(stage, code, "words", REMOTE), FIRST, NOON).data


@pytest.mark.parametrize("result", [OK, GREYLISTED, UNKNOWN_USER], ids=["accepted", "deferred", "refused"])
def test_a_reply_that_is_no_utf_8_is_recorded_too(result: Reply) -> None:
    text = b"2.0.0 f\xfcr Ann".decode("utf-8", "surrogateescape")
    assert encode(sample(decide(replace(result, text=text), FIRST, NOON).data))


# how long


@pytest.mark.parametrize(("number", "minutes"), [(1, 1), (2, 5), (3, 30), (4, 30), (50, 30)])
@pytest.mark.parametrize("spread", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("result", [GREYLISTED, REFUSED, LOST])
def test_waits_follow_the_list_and_its_last_repeats(result: Result, spread: float, number: int, minutes: float) -> None:
    outcome = decide(result, replace(FIRST, number=number, spread=spread), NOON)
    assert outcome.due_at == NOON + timedelta(minutes=minutes * spread)


def test_a_retry_at_the_very_end_is_made_and_one_after_it_is_not() -> None:
    at_the_end = replace(FIRST, expires_at=NOON + timedelta(minutes=1))
    assert decide(GREYLISTED, at_the_end, NOON).state == "waiting"
    too_late = replace(at_the_end, expires_at=NOON + timedelta(minutes=1, microseconds=-1))
    assert decide(GREYLISTED, too_late, NOON).state == "done"


@pytest.mark.parametrize("result", [GREYLISTED, REFUSED, LOST])
def test_what_would_be_tried_after_its_expiry_is_given_up(result: Result) -> None:
    outcome = decide(result, LAST, NOON)
    assert (outcome.state, outcome.due_at) == ("done", None)
    assert isinstance(outcome.data, Bounced)
    assert fields(outcome.data, "bounce_class", "category", "attempt") == ("soft", "expired", 9)
    assert outcome.data.diagnostic


def test_a_refusal_for_the_time_being_never_ends_as_a_hard_bounce() -> None:
    reply = Reply("rcpt", 450, "4.1.1 <ann@example.org>: User unknown", REMOTE)
    data = decide(reply, LAST, NOON).data
    assert isinstance(data, Bounced)
    assert data.bounce_class == "soft"


def test_a_delivery_that_expired_is_given_up() -> None:
    outcome = decide(Expired(), replace(FIRST, outcome_unknown=True), NOON)
    assert outcome.state == "done"
    assert isinstance(outcome.data, Bounced)
    assert fields(outcome.data, "bounce_class", "category", "outcome_unknown") == ("soft", "expired", True)


def test_what_expired_between_two_attempts_is_told_with_the_last_refusal() -> None:
    outcome = decide(Expired(), replace(FIRST, number=4, said="451 4.7.1 Greylisted"), NOON)
    assert isinstance(outcome.data, Bounced)
    assert (
        outcome.data.diagnostic == "the request expired before the next attempt; the last refusal: 451 4.7.1 Greylisted"
    )
    assert outcome.said == "451 4.7.1 Greylisted"


def test_what_a_person_gave_up_says_who_and_why() -> None:
    parked = replace(FIRST, outcome_unknown=True)
    outcome = decide(GivenUp("agent 7", "the customer was called"), parked, NOON)
    assert (outcome.state, outcome.due_at) == ("done", None)
    assert isinstance(outcome.data, Bounced)
    assert outcome.data.diagnostic == "given up by agent 7: the customer was called"
    assert fields(outcome.data, "rule", "bounce_class", "category", "origin") == ("given-up", "soft", "expired", "api")
    assert outcome.data.outcome_unknown


def test_a_fault_of_ours_ends_it_and_blames_nobody() -> None:
    outcome = decide(Unsendable("a header holds a line break"), FIRST, NOON)
    assert outcome.state == "done"
    assert isinstance(outcome.data, Bounced)
    assert fields(outcome.data, "rule", "bounce_class", "category") == ("unsendable", "soft", "system")


def test_a_suppressed_address_is_told_with_its_evidence() -> None:
    assert decide(SUPPRESSED, FIRST, NOON) == Outcome("done", SUPPRESSED.evidence)


# unknown outcomes


def test_an_unknown_outcome_is_tried_again_and_on_the_record() -> None:
    outcome = decide(LOST, FIRST, NOON)
    assert (outcome.state, outcome.outcome_unknown) == ("waiting", True)
    assert isinstance(outcome.data, Deferred)
    assert fields(outcome.data, "outcome_unknown", "parked", "diagnostic") == (True, False, LOST.reason)


def test_an_unknown_outcome_is_parked_where_the_request_says_so() -> None:
    outcome = decide(LOST, replace(FIRST, park_unknown=True), NOON)
    assert (outcome.state, outcome.due_at, outcome.outcome_unknown) == ("parked", None, True)
    assert isinstance(outcome.data, Deferred)
    assert fields(outcome.data, "outcome_unknown", "parked", "next_attempt_at") == (True, True, None)


@pytest.mark.parametrize("result", [GREYLISTED, REFUSED])
def test_only_an_unknown_outcome_is_parked(result: Result) -> None:
    assert decide(result, replace(FIRST, park_unknown=True), NOON).state == "waiting"


@pytest.mark.parametrize("result", [GREYLISTED, REFUSED, UNKNOWN_USER])
def test_once_unknown_stays_on_the_record(result: Result) -> None:
    data = decide(result, replace(FIRST, outcome_unknown=True), NOON).data
    assert isinstance(data, Bounced | Deferred)
    assert data.outcome_unknown


# laws


@modest
@given(results, attempts)
def test_nothing_is_scheduled_past_its_expiry_or_into_the_past(result: Result, attempt: Attempt) -> None:
    outcome = decide(result, attempt, NOON)
    if outcome.due_at is not None:
        assert NOON < outcome.due_at <= attempt.expires_at


@modest
@given(results, attempts)
def test_state_and_event_agree(result: Result, attempt: Attempt) -> None:
    outcome = decide(result, attempt, NOON)
    match outcome.data:
        case Deferred(parked=True):
            assert outcome.state == "parked"
            assert is_doubtful(result)
        case Deferred(next_attempt_at=due):
            assert (outcome.state, outcome.due_at) == ("waiting", due)
        case Delivered() | Bounced() | Rejected():
            assert (outcome.state, outcome.due_at) == ("done", None)
        case other:
            raise AssertionError(other)


@modest
@given(results, attempts)
def test_every_outcome_can_be_told(result: Result, attempt: Attempt) -> None:
    told = json.loads(encode(sample(decide(result, attempt, NOON).data)))
    assert told["data"]
    assert "\0" not in json.dumps(told, ensure_ascii=False)


@modest
@given(results, attempts)
def test_what_the_server_may_have_taken_is_never_counted_as_known(result: Result, attempt: Attempt) -> None:
    outcome = decide(result, attempt, NOON)
    if isinstance(outcome.data, Bounced | Deferred):
        assert outcome.outcome_unknown == is_doubtful(result)
        assert outcome.data.outcome_unknown == (attempt.outcome_unknown or is_doubtful(result))


def is_doubtful(result: Result) -> bool:
    match result:
        case Lost():
            return True
        case Reply(stage="data", code=code):
            return code < 200 or 300 <= code < 400 or code >= 600
        case _:
            return False


@modest
@given(results, attempts)
def test_only_dns_and_a_server_that_was_told_the_recipient_can_call_it_dead(result: Result, attempt: Attempt) -> None:
    data = decide(result, attempt, NOON).data
    if isinstance(data, Bounced | Deferred) and data.bounce_class in {"hard", "spam"}:
        assert isinstance(result, Reply | Unroutable)
        assert isinstance(result, Unroutable) or result.stage in {"rcpt", "data"}


@modest
@given(results, attempts)
def test_what_is_final_ends_the_delivery_whenever_it_arrives(result: Result, attempt: Attempt) -> None:
    if is_final(result):
        assert decide(result, attempt, NOON) == decide(result, attempt, attempt.expires_at + timedelta(days=9))
        assert decide(result, attempt, NOON).state == "done"


@modest
@given(results, attempts)
def test_what_is_said_can_be_stored(result: Result, attempt: Attempt) -> None:
    said = decide(result, replace(attempt, said=None), NOON).said
    assert len(said or "") <= 500
    assert "\0" not in (said or "")
