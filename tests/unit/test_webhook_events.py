"""What each provider's events become: one of ours, or nothing, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bounce_ingest.webhooks.values import Ignored, Strange, Told
from tests import webhooks
from tests.unit.samples import KEYRING
from tests.webhooks import PROVIDERS, RECIPIENT
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, Opened

TOKEN = webhooks.token(KEYRING)
AT = datetime(2026, 3, 4, 12, 0, 5, tzinfo=UTC)

IS_KNOWN = "as the sender knows"
NO_CLICKS = "clicks are not tracked"
INCOMING = "it is about mail that comes in"
NOBODY = "it adds nobody to the suppression list"
UNKNOWN = Strange("unknown_event")

HARD = (Bounced, {"bounce_class": "hard", "category": "invalid_recipient"})
ABUSE = (Complained, {"feedback_type": "abuse", "certainty": "exact"})
OPT_OUT = (Complained, {"feedback_type": "opt-out"})


def soft(category: str, rule: str = "", bounce_class: str = "soft") -> tuple[type[Data], dict[str, Any]]:
    return Bounced, {"bounce_class": bounce_class, "category": category} | ({"rule": rule} if rule else {})


def later(category: str, **more: Any) -> tuple[type[Data], dict[str, Any]]:
    return Deferred, {"category": category, "parked": False} | more


def seen(verdict: str, rule: str, client: str | None = None) -> tuple[type[Data], dict[str, Any]]:
    return Opened, {"verdict": verdict, "rule": rule, "client": client, "ip": None}


UNKNOWN_USER = {"smtp_code": 550, "enhanced_code": "5.1.1", "rule": "recipient-unknown"}
FILTERED = "spam"

EXPECTED: dict[str, dict[str, Any]] = {
    "amazon-ses": {
        "bounce": (
            Bounced,
            HARD[1] | UNKNOWN_USER | {"remote_mta": "a1-2.smtp-out.amazonses.com", "certainty": "exact"},
        ),
        "bounce, as a notification": (Bounced, HARD[1] | UNKNOWN_USER),
        "bounce, without words": (Bounced, HARD[1] | {"rule": "amazon-ses-invalid-recipient", "diagnostic": ""}),
        "bounce, no such address": (Bounced, HARD[1] | {"rule": "amazon-ses-invalid-recipient"}),
        "bounce, mailbox full": soft("mailbox_full", "amazon-ses-mailbox-full"),
        "bounce, content": soft("content", "amazon-ses-content", FILTERED),
        "bounce, on the suppression list": soft("policy", "amazon-ses-not-tried"),
        "bounce, of a forward": HARD,  # until it is held against the token
        "absence": Ignored("it names nobody to whom anything has happened"),
        "complaint": (Complained, ABUSE[1] | {"reporter": "Example-FBL/1.0"}),
        "complaint, taken back": (Complained, {"feedback_type": "not-spam"}),
        "complaint about signatures": Ignored("it names nobody to whom anything has happened"),
        "complaint, on the suppression list": soft("policy", "amazon-ses-not-tried"),
        "delivery": (Delivered, {"response": "250 2.6.0 Message received", "remote_ip": "192.0.2.25"}),
        "delay": later("network", enhanced_code="4.4.1", smtp_code=421),
        "open": seen("unknown", "amazon-ses-open"),
        "click": Ignored(NO_CLICKS),
        "send": Ignored(f"SES has taken it, {IS_KNOWN}"),
        "reject": soft("virus", "amazon-ses-not-tried", FILTERED),
        "rendering failure": soft("system", "amazon-ses-not-tried"),
        "subscription": OPT_OUT,
        "subscription, kept": Ignored("it names nobody to whom anything has happened"),
        "beginning of notifications": Ignored("SES has begun to use the topic"),
        "unknown": UNKNOWN,
    },
    "sendgrid": {
        "processed": Ignored(f"SendGrid has taken it, {IS_KNOWN}"),
        "delivered": (Delivered, {"response": "250 2.0.0 OK", "remote_ip": "192.0.2.25", "tls": "TLS"}),
        "deferred": later("greylisted", attempt=5, smtp_code=451, enhanced_code="4.7.1"),
        "bounce": (Bounced, HARD[1] | UNKNOWN_USER),
        "bounce, by its classification": soft("mailbox_disabled", "sendgrid-mailbox-disabled"),
        "blocked": soft("listed", "listed"),
        "dropped": (Bounced, soft("policy", "sendgrid-not-tried")[1] | {"diagnostic": "Bounced Address"}),
        "dropped, no address": HARD,
        "dropped, spam": soft("spam_content", "sendgrid-not-tried", FILTERED),
        "open": seen("unknown", "sendgrid-open"),
        "open, by a machine": seen("prefetched", "sendgrid-machine-open"),
        "click": Ignored(NO_CLICKS),
        "spamreport": ABUSE,
        "unsubscribe": OPT_OUT,
        "group_unsubscribe": OPT_OUT,
        "group_resubscribe": Ignored(NOBODY),
        "account_status_change": Ignored("it is about the account, not about a message"),
        "unknown": UNKNOWN,
    },
    "mailgun": {
        "accepted": Ignored(f"Mailgun has taken it, {IS_KNOWN}"),
        "delivered": (Delivered, {"smtp_code": 250, "remote_mta": "mx.example.org", "attempt": 2, "tls": "TLS"}),
        "failed": (Bounced, HARD[1] | UNKNOWN_USER | {"remote_mta": "mx.example.org", "attempt": 1}),
        "failed for now": later("mailbox_full", next_attempt_at=datetime(2026, 3, 4, 12, 10, 5, 854262, UTC)),
        "failed, greylisted": later("greylisted", rule="mailgun-greylisted", smtp_code=450),
        "failed, too old": soft("expired", "mailgun-expired"),
        "failed, suppressed": soft("policy", "mailgun-not-tried"),
        "rejected": soft("policy", "mailgun-not-tried"),
        "opened": seen("unknown", "mailgun-open", "Thunderbird"),
        "opened, by Apple": seen("prefetched", "mailgun-machine-open", "unknown"),
        "opened, by a firewall": seen("bot", "mailgun-machine-open", "unknown"),
        "clicked": Ignored(NO_CLICKS),
        "complained": ABUSE,
        "unsubscribed": OPT_OUT,
        "stored": Ignored(INCOMING),
        "unknown": UNKNOWN,
    },
    "postmark": {
        "bounce": (Bounced, HARD[1] | UNKNOWN_USER),
        "bounce, without words": (Bounced, HARD[1] | {"rule": "postmark-invalid-recipient"}),
        "soft bounce": (Bounced, soft("mailbox_full")[1] | {"smtp_code": 552, "enhanced_code": "5.2.2"}),
        "transient": (Deferred, {"bounce_class": "soft"}),
        "DNS error": later("dns_temporary", rule="postmark-dns-temporary"),
        "blocked": soft("policy"),
        "spam notification": soft("spam_content", "postmark-spam-content", FILTERED),
        "virus": soft("virus", "postmark-virus", FILTERED),
        "bad address": HARD,
        "DMARC": soft("auth"),
        "deactivated": soft("policy", "postmark-not-tried"),
        "unknown bounce": soft("other", bounce_class="undetermined"),
        "unsubscribe by mail": OPT_OUT,
        "automatic reply": Ignored("an automatic reply is no bounce"),
        "challenge": Ignored("a challenge to the sender is no bounce"),
        "delivery": (Delivered, {"response": "smtp;250 2.0.0 OK"}),
        "open": seen("unknown", "postmark-open", "Thunderbird"),
        "click": Ignored(NO_CLICKS),
        "complaint": ABUSE,
        "suppressed by hand of the recipient": OPT_OUT,
        "suppressed by a customer": Ignored("a customer or Postmark did it"),
        "suppressed for a hard bounce": HARD,
        "suppressed for a complaint": ABUSE,
        "active again": Ignored(NOBODY),
        "unknown": UNKNOWN,
    },
    "mandrill": {
        "send": Ignored(f"Mandrill has taken it, {IS_KNOWN}"),
        "delivered": (Delivered, {"response": "250 OK"}),
        "deferral": later("system", smtp_code=451, enhanced_code="4.3.5"),
        "hard_bounce": (Bounced, HARD[1] | UNKNOWN_USER),
        "hard_bounce, without words": (Bounced, {"bounce_class": "hard", "category": "bad_domain"}),
        "soft_bounce": (Bounced, soft("mailbox_full")[1] | {"smtp_code": 552, "enhanced_code": "5.2.2"}),
        "reject": (Bounced, soft("policy", "mandrill-not-tried")[1] | {"diagnostic": "hard-bounce"}),
        "open": seen("unknown", "mandrill-open", "Thunderbird"),
        "click": Ignored(NO_CLICKS),
        "spam": ABUSE,
        "unsub": OPT_OUT,
        "denylist": Ignored("it is about Mandrill's lists, not about a message"),
        "inbound": Ignored(INCOMING),
        "metadata is empty": ABUSE,
        "unknown": UNKNOWN,
    },
    "standard": {
        "delivered": (Delivered, {"smtp_code": 250, "response": "250 2.0.0 OK", "remote_mta": "mx.example.org"}),
        "deferred": later("greylisted", smtp_code=451, enhanced_code="4.7.1", attempt=2),
        "bounced": (Bounced, HARD[1] | UNKNOWN_USER | {"remote_mta": "mx.example.org"}),
        "bounced, names nobody": soft("mailbox_full"),
        "complained": ABUSE,
        "complained, taken back": (Complained, {"feedback_type": "not-spam"}),
        "unsubscribed": OPT_OUT,
        "opened": seen("unknown", "standard-open", "Thunderbird"),
        "opened, by a machine": seen("bot", "standard-open"),
    },
}


@pytest.mark.parametrize(("provider", "case"), [(name, case) for name in PROVIDERS for case in webhooks.cases(name)])
def test_an_event_becomes(provider: str, case: str) -> None:
    told = PROVIDERS[provider].tell(webhooks.element(provider, case, TOKEN))
    expected = EXPECTED[provider][case]
    if isinstance(expected, Ignored | Strange):
        assert told == expected
        return
    assert isinstance(told, list)
    (only,) = told
    assert isinstance(only, Told)
    kind, fields = expected
    assert type(only.data) is kind
    assert {name: getattr(only.data, name) for name in fields} == fields
    assert getattr(only.data, "origin", None) == f"webhook:{provider}"
    assert only.at.replace(microsecond=0) in {AT, AT.replace(second=0)}  # SES does not time a rejection
    assert only.recipient in {RECIPIENT, None, "old@elsewhere.example"}
    assert only.key


def test_every_case_is_expected_and_every_expectation_is_a_case() -> None:
    assert {name: list(found) for name, found in EXPECTED.items()} == {name: webhooks.cases(name) for name in PROVIDERS}


def test_ses_tells_of_every_recipient_that_it_names() -> None:
    two = webhooks.payload("amazon-ses", "bounce", TOKEN)
    two["bounce"]["bouncedRecipients"].append({"emailAddress": "bob@example.org"})
    told = PROVIDERS["amazon-ses"].tell(two)
    assert [each.recipient for each in told] == [RECIPIENT, "bob@example.org"]


def test_ses_does_not_say_who_of_several_opened_it() -> None:
    two = webhooks.payload("amazon-ses", "open", TOKEN)
    two["mail"]["destination"].append("bob@example.org")
    (told,) = PROVIDERS["amazon-ses"].tell(two)
    assert told.recipient is None


def test_our_token_is_found_wherever_ses_may_repeat_it() -> None:
    whole = webhooks.payload("amazon-ses", "delivery", TOKEN)
    whole["mail"]["source"] = f"{TOKEN}@bounces.example"
    (told,) = PROVIDERS["amazon-ses"].tell(whole)
    assert told.tokens == (TOKEN.removeprefix("b+"), TOKEN, TOKEN)


def test_mailgun_names_the_return_path() -> None:
    without = webhooks.payload("mailgun", "delivered", TOKEN) | {"user-variables": {}}
    without["envelope"]["sender"] = f"{TOKEN}@bounces.example"
    (told,) = PROVIDERS["mailgun"].tell(without)
    assert told.tokens == ("", TOKEN)


def test_sendgrid_gives_an_event_another_id_when_it_sends_it_again() -> None:
    event = webhooks.payload("sendgrid", "delivered", TOKEN)
    tell = PROVIDERS["sendgrid"].tell
    assert tell(event)[0].key == tell(event | {"sg_event_id": "another"})[0].key
    assert tell(event)[0].key != tell(event | {"timestamp": event["timestamp"] + 1})[0].key


def test_the_id_of_mailgun_is_good_for_a_day_and_the_id_of_mandrill_for_a_message() -> None:
    gun, drill = (webhooks.payload(name, case, TOKEN) for name, case in (("mailgun", "opened"), ("mandrill", "open")))
    tell = PROVIDERS["mailgun"].tell
    assert tell(gun)[0].key != tell(gun | {"timestamp": gun["timestamp"] + 86_400})[0].key
    tell = PROVIDERS["mandrill"].tell
    assert tell(drill)[0].key != tell(drill | {"ts": drill["ts"] + 60})[0].key
    assert tell(drill)[0].key != tell(drill | {"event": "spam"})[0].key
