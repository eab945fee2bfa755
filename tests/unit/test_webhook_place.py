"""An event comes only of what our token proves; of all else nothing but an entry in quarantine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bounce_ingest.quarantine.values import Held
from bounce_ingest.webhooks.place import placed
from bounce_ingest.webhooks.values import Ignored, Provider, Trust
from tests import webhooks
from tests.unit.samples import KEYRING, modest
from tests.webhooks import BOUNCES, MESSAGE_ID, PROVIDERS, RECIPIENT
from tracepost import tokens
from tracepost.events import AnyEvent, Bounced
from tracepost.tokens import LIFETIME, Keyring, to_local_part

NOW = datetime(2026, 3, 4, 12, 1, tzinfo=UTC)
TOKEN = webhooks.token(KEYRING)
COMPLAINTS = {
    "amazon-ses": "complaint",
    "sendgrid": "spamreport",
    "mailgun": "complained",
    "postmark": "complaint",
    "mandrill": "spam",
    "standard": "complained",
}


async def never(_: object) -> Trust:
    raise AssertionError


def provider(name: str) -> Provider:
    return Provider(never, PROVIDERS[name].elements, PROVIDERS[name].tell)


def place(name: str, element: object, trust: Trust = "genuine", now: datetime = NOW) -> Sequence[AnyEvent | Held]:
    found = placed(name, provider(name), element, trust, KEYRING, now)
    assert not isinstance(found, Ignored)
    return found


def event_of(name: str, element: object, **more: Any) -> AnyEvent:
    (only,) = place(name, element, **more)
    assert not isinstance(only, Held)
    return only


def bounce_of(name: str, element: object) -> Bounced:
    data = event_of(name, element).data
    assert isinstance(data, Bounced)
    return data


def held(name: str, element: object, trust: Trust = "genuine") -> Held:
    (only,) = place(name, element, trust)
    assert isinstance(only, Held)
    assert (only.way, only.content_type) == (f"webhook:{name}", "application/json")
    assert json.loads(only.raw) == element
    return only


def about(name: str, recipient: str) -> Any:
    """The bounce of another recipient, with our recipient's token."""
    return json.loads(json.dumps(webhooks.element(name, BOUNCES[name], TOKEN)).replace(RECIPIENT, recipient))


each_provider = pytest.mark.parametrize("name", PROVIDERS)


@each_provider
def test_what_our_token_proves_is_an_event_about_its_delivery(name: str) -> None:
    found = event_of(name, webhooks.element(name, BOUNCES[name], TOKEN))
    assert (str(found.message_id), found.recipient_no) == (MESSAGE_ID, 0)
    assert (found.source, found.name) == ("/tracepost/bounce-ingest", "bounced")
    assert found.time.replace(microsecond=0) == datetime(2026, 3, 4, 12, 0, 5, tzinfo=UTC)
    assert isinstance(found.data, Bounced)
    assert (found.data.bounce_class, found.data.certainty, found.data.forwarded_to) == ("hard", "exact", None)


@each_provider
def test_the_recipient_is_ours_however_it_is_spelt(name: str) -> None:
    assert bounce_of(name, about(name, "ANN@Example.ORG")).certainty == "exact"


@each_provider
def test_what_comes_again_has_the_same_id_and_another_event_another(name: str) -> None:
    again = [event_of(name, webhooks.element(name, BOUNCES[name], TOKEN)) for _ in range(2)]
    spelt, complaint = about(name, "Ann@Example.org"), webhooks.element(name, COMPLAINTS[name], TOKEN)
    assert again[0].id == again[1].id == event_of(name, spelt).id
    if name != "mailgun":  # whose fixtures share an id, as its events never do
        assert event_of(name, complaint).id != again[0].id


@each_provider
def test_the_same_event_about_another_delivery_has_another_id(name: str) -> None:
    element = webhooks.element(name, BOUNCES[name], to_local_part(KEYRING.return_path(UUID(MESSAGE_ID), 1, RECIPIENT)))
    found = event_of(name, element)
    assert found.recipient_no == 1
    assert found.id != event_of(name, webhooks.element(name, BOUNCES[name], TOKEN)).id


@each_provider
def test_nothing_has_happened_yet_that_a_clock_sees_ahead(name: str) -> None:
    now = datetime(2026, 3, 4, 11, 0, tzinfo=UTC)
    assert event_of(name, webhooks.element(name, BOUNCES[name], TOKEN), now=now).time == now


# forgery: none of it gives an event


FORGED = {
    "no token": ("", "no_token"),
    "no token at all": ("hello", "bad_token"),
    "altered": (TOKEN[:20] + ("a" if TOKEN[20] != "a" else "b") + TOKEN[21:], "bad_token"),
    "cut": (TOKEN[:-1], "bad_token"),
    "of another key": (webhooks.token(Keyring({1: bytes(32)})), "bad_token"),
    "a pixel's": (to_local_part(KEYRING.pixel(UUID(MESSAGE_ID), 0)), "bad_token"),
    "a pixel's, as in a URL": (tokens.to_url(KEYRING.pixel(UUID(MESSAGE_ID), 0)), "bad_token"),
    "expired": (
        to_local_part(
            KEYRING.return_path(UUID(MESSAGE_ID), 0, RECIPIENT, datetime.now(UTC).date() - LIFETIME - timedelta(days=1))
        ),
        "bad_token",
    ),
    "another recipient's": (webhooks.token(KEYRING, "bob@example.org"), "other_recipient"),
}


@each_provider
@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("case", ["bounce", "complaint"])
def test_without_a_genuine_token_of_this_recipient_nothing_is_told(name: str, forged: str, case: str) -> None:
    token, why = FORGED[forged]
    element = webhooks.element(name, (BOUNCES if case == "bounce" else COMPLAINTS)[name], token)
    if (name, case, why) == ("amazon-ses", "bounce", "other_recipient"):
        dead = bounce_of(name, element)
        assert (dead.bounce_class, dead.certainty, dead.forwarded_to) == ("soft", "candidate", RECIPIENT)
    else:
        assert held(name, element).detail == why


@each_provider
def test_a_genuine_token_with_another_recipient_tells_nothing_of_ours(name: str) -> None:
    element = about(name, "eve@evil.example")
    if name == "amazon-ses":  # names the address of the delivery report: it may be behind a forward
        dead = bounce_of(name, element)
        assert (dead.bounce_class, dead.certainty, dead.forwarded_to) == ("soft", "candidate", "eve@evil.example")
    else:
        found = held(name, element)
        assert (found.detail, found.reason, found.claim is not None) == ("other_recipient", "untrusted", True)


@pytest.mark.parametrize("name", ["amazon-ses", "sendgrid", "mailgun"])
def test_another_messages_token_tells_nothing_where_the_provider_repeats_the_message_id(name: str) -> None:
    other = webhooks.token(KEYRING, RECIPIENT, "01890a5d-ac96-774b-bcce-b302099a8058")
    found = held(name, webhooks.element(name, BOUNCES[name], other))
    assert (found.detail, found.reason) == ("other_message", "untrusted")


@each_provider
def test_what_was_signed_too_long_ago_tells_nothing(name: str) -> None:
    assert held(name, webhooks.element(name, BOUNCES[name], TOKEN), "stale").detail == "stale_call"


@pytest.mark.parametrize("case", ["subscription", "end of subscription"])
def test_a_subscription_is_for_a_person_to_confirm(case: str) -> None:
    (posted,) = PROVIDERS["amazon-ses"].elements(webhooks.call("amazon-ses", at=NOW, case=case))
    assert held("amazon-ses", posted).detail == "subscription"


def test_what_else_sns_says_is_no_event_of_ses() -> None:
    (posted,) = PROVIDERS["amazon-ses"].elements(webhooks.call("amazon-ses", at=NOW, case="something else"))
    assert held("amazon-ses", posted).detail == "unknown_event"
    (posted,) = PROVIDERS["amazon-ses"].elements(webhooks.call("amazon-ses", at=NOW, case="greeting"))
    greeting = placed("amazon-ses", provider("amazon-ses"), posted, "genuine", KEYRING, NOW)
    assert greeting == Ignored("SES has begun to use the topic")


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - {"standard"}))
@pytest.mark.parametrize("element", [None, [], {}, 7, "x", {"event": []}, {"RecordType": "Bounce", "Type": {}}])
def test_what_is_not_as_documented_is_set_apart(name: str, element: Any) -> None:
    assert held(name, element).reason == "not_understood"


# properties


def anywhere(value: Any, place: int, other: Any) -> Any:
    """The value with another in one of its places, counted through."""
    count = [place]

    def walk(each: Any) -> Any:
        count[0] -= 1
        if count[0] == -1:
            return other
        if isinstance(each, dict):
            return {name: walk(inner) for name, inner in each.items()}
        return [walk(inner) for inner in each] if isinstance(each, list) else each

    return walk(value)


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "\0", "\ud800", -1, 2**70, 1e400, True, [], {}, [[]], {"a": 1}, "9" * 5000]
)


@modest
@given(st.sampled_from([(name, case) for name in PROVIDERS for case in webhooks.cases(name)]), st.integers(0, 60), ODD)
@example(("sendgrid", "bounce"), 2, 1e400)
@example(("mailgun", "failed for now"), 2, 2**70)
@example(("postmark", "bounce"), 10, "0001-01-01T00:00:00+14:00")
def test_an_odd_value_anywhere_never_raises_and_never_reaches_another(case: tuple[str, str], at: int, odd: Any) -> None:
    name, of = case
    element = anywhere(webhooks.element(name, of, TOKEN), at, odd)
    found = placed(name, provider(name), element, "genuine", KEYRING, NOW)
    for each in [] if isinstance(found, Ignored) else found:
        assert isinstance(each, Held) or str(each.message_id) == MESSAGE_ID


@modest
@given(st.dates(date(2026, 1, 1), date(2100, 1, 1)), st.integers(0, 255), st.uuids(version=4))
def test_a_token_places_its_own_delivery_and_no_other(day: date, number: int, message_id: UUID) -> None:
    token = to_local_part(KEYRING.return_path(message_id, number, RECIPIENT, day))
    found = event_of("postmark", webhooks.element("postmark", "delivery", token))
    assert (found.message_id, found.recipient_no) == (message_id, number)
