"""Only what its provider has signed, lately, is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from bounce_ingest.webhooks import amazon_ses, mailgun, mandrill, postmark, sendgrid, sns, standard
from bounce_ingest.webhooks.replays import MOST, Replays
from bounce_ingest.webhooks.signatures import WINDOW
from bounce_ingest.webhooks.values import Call, Refused, Trust
from tests import webhooks
from tests.unit.samples import KEYRING, modest
from tests.webhooks import PROVIDERS, TOPIC

TOKEN = webhooks.token(KEYRING)
NOW = datetime.now(UTC)
SECOND = timedelta(seconds=1)

FIRST = {
    "amazon-ses": "delivery",
    "sendgrid": "delivered",
    "mailgun": "delivered",
    "postmark": "delivery",
    "mandrill": "delivered",
    "standard": "delivered",
}
SENDGRID = [key.public_key() for key in webhooks.SENDGRID_KEYS]
STANDARD = [standard.key(each) for each in webhooks.settings()["webhook_standard_keys"].split(",")]


def by_certificate(certificate: bytes, call: Call) -> Trust:
    sns.certificate_url((TOPIC,), call)
    return sns.verify(certificate, call)


def verifying(provider: str) -> Callable[[Call], Trust]:
    """As the service does it, with all that is known."""
    match provider:
        case amazon_ses.NAME:
            return partial(by_certificate, webhooks.certificate())
        case sendgrid.NAME:
            return partial(sendgrid.verify, SENDGRID)
        case mailgun.NAME:
            return partial(mailgun.verify, [key.encode() for key in webhooks.MAILGUN_KEYS], Replays())
        case postmark.NAME:
            return partial(postmark.verify, webhooks.POSTMARK_SECRETS)
        case mandrill.NAME:
            keys = [key.encode() for key in webhooks.MANDRILL_KEYS]
            return partial(mandrill.verify, keys, webhooks.MANDRILL_URL)
    return partial(standard.verify, STANDARD)


def genuine(provider: str, at: datetime = NOW, **more: Any) -> Call:
    return webhooks.call(provider, webhooks.payload(provider, FIRST[provider], TOKEN), at=at, **more)


def refused(verify: Callable[[Call], Trust], call: Call, code: str = "bad-signature") -> str:
    with pytest.raises(Refused) as error:
        verify(call)
    assert error.value.code == code
    return error.value.detail


def header(call: Call, name: str, value: str) -> Call:
    return replace(call, headers={**call.headers, name: value})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_the_provider_has_signed_is_believed_however_often_it_comes(provider: str) -> None:
    call, verify = genuine(provider), verifying(provider)
    assert (verify(call), verify(call)) == ("genuine", "genuine")
    assert len(PROVIDERS[provider].elements(call)) == 1


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(("amazon-ses", {"version": version}) for version in ("1", "2")),
    *(("amazon-ses", {"case": case}) for case in ("subscription", "end of subscription")),
    *(("sendgrid", {"key": key}) for key in webhooks.SENDGRID_KEYS),
    *(("mailgun", {"key": key}) for key in webhooks.MAILGUN_KEYS),
    ("mailgun", {"parent": True}),
    *(("postmark", {"secret": secret}) for secret in webhooks.POSTMARK_SECRETS),
    *(("mandrill", {"key": key}) for key in webhooks.MANDRILL_KEYS),
    *(("standard", {"version": version}) for version in ("v1", "v1a")),
]


@pytest.mark.parametrize(("provider", "variant"), VARIANTS)
def test_each_live_key_and_version_will_do(provider: str, variant: dict[str, Any]) -> None:
    if provider == "amazon-ses" and "case" in variant:
        assert verifying(provider)(webhooks.call(provider, at=NOW, **variant)) == "genuine"
    else:
        assert verifying(provider)(genuine(provider, **variant)) == "genuine"


FORGED: list[tuple[str, dict[str, Any]]] = [
    ("sendgrid", {"key": ec.generate_private_key(ec.SECP256R1())}),
    ("mailgun", {"key": "guessed"}),
    ("postmark", {"secret": "postmark:another password"}),
    ("postmark", {"secret": "another value"}),
    ("mandrill", {"key": "test-webhook"}),
    ("mandrill", {"url": "https://elsewhere.example/v1/webhooks/mandrill"}),
    ("standard", {"key": b"x" * 32}),
    ("standard", {"version": "v2"}),
    ("standard", {"id": "msg.1"}),
]


@pytest.mark.parametrize(("provider", "forged"), FORGED)
def test_what_another_has_signed_is_refused_with_a_remedy(provider: str, forged: dict[str, Any]) -> None:
    assert "signature is not genuine: " in refused(verifying(provider), genuine(provider, **forged))


@pytest.mark.parametrize("provider", sorted(PROVIDERS.keys() - {"mailgun", "postmark"}))
def test_a_body_that_was_altered_is_refused(provider: str) -> None:
    call = genuine(provider)
    place = call.body.find(b"250")
    refused(verifying(provider), replace(call, body=call.body[:place] + b"550" + call.body[place + 3 :]))


@pytest.mark.parametrize("provider", sorted(PROVIDERS.keys() - {"amazon-ses", "mailgun"}))
def test_without_its_headers_it_is_refused(provider: str) -> None:
    call, verify = genuine(provider), verifying(provider)
    refused(verify, replace(call, headers={}))
    for name in call.headers:
        for value in ("", "é", "*", "v1", "Basic", "Basic *", "Bearer x", "9" * 400):
            refused(verify, header(call, name, value))


@pytest.mark.parametrize(
    ("provider", "past"),
    [("sendgrid", WINDOW), ("mailgun", WINDOW), ("standard", WINDOW), ("amazon-ses", sns.RETRIES + WINDOW)],
)
def test_what_was_signed_too_long_ago_or_ahead_is_stale(provider: str, past: timedelta) -> None:
    for signed, trust in ((-past + 2 * SECOND, "genuine"), (-past - 2 * SECOND, "stale")):
        assert verifying(provider)(replace(genuine(provider, NOW + signed), at=NOW)) == trust
    for signed, trust in ((WINDOW - 2 * SECOND, "genuine"), (WINDOW + 2 * SECOND, "stale")):
        assert verifying(provider)(replace(genuine(provider, NOW + signed), at=NOW)) == trust


@pytest.mark.parametrize("name", ["x-twilio-email-event-webhook-timestamp", "webhook-timestamp"])
def test_a_time_that_was_altered_is_refused(name: str) -> None:
    provider = "sendgrid" if name.startswith("x-twilio") else "standard"
    refused(verifying(provider), header(genuine(provider), name, str(int(NOW.timestamp()) + 1)))


# Mailgun


def test_a_token_of_mailgun_stands_for_one_event_alone() -> None:
    verify = verifying("mailgun")
    assert verify(genuine("mailgun", token="a" * 50)) == "genuine"
    spam = webhooks.call("mailgun", webhooks.payload("mailgun", "complained", TOKEN), at=NOW, token="a" * 50)
    refused(verify, spam, "replayed")
    assert verify(genuine("mailgun", token="a" * 50)) == "genuine"
    assert verify(genuine("mailgun", token="b" * 50)) == "genuine"


def test_a_token_is_known_for_as_long_as_its_signature_is_believed() -> None:
    replays = Replays()
    assert replays.is_first("a", b"1", NOW)
    assert not replays.is_first("a", b"2", NOW + 2 * WINDOW)
    assert replays.is_first("a", b"2", NOW + 2 * WINDOW + SECOND)


def test_no_more_tokens_are_remembered_than_there_is_room_for() -> None:
    replays = Replays()
    for number in range(MOST + 2):
        assert replays.is_first(str(number), b"1", NOW)
    assert replays.is_first("0", b"2", NOW)
    assert not replays.is_first(str(MOST), b"2", NOW)


# Amazon SNS

PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"


@pytest.mark.parametrize(
    "url",
    [
        f"http://sns.eu-west-1.amazonaws.com{PATH}",
        f"https://sns.us-east-1.amazonaws.com{PATH}",  # another region than the topic's
        f"https://sns.eu-west-1.amazonaws.com.cn{PATH}",
        f"https://sns.eu-west-1.amazonaws.com.evil.example{PATH}",
        f"https://sns.eu-west-1.amazonaws.com@evil.example{PATH}",
        f"https://sns.eu-west-1.amazonaws.com:8443{PATH}",
        f"https://evil.example/?sns.eu-west-1.amazonaws.com{PATH}",
        f"https://evil.example#https://sns.eu-west-1.amazonaws.com{PATH}",
        f"https://SNS.eu-west-1.amazonaws.com{PATH}",
        "https://sns.eu-west-1.amazonaws.com/",
        f"https://sns.eu-west-1.amazonaws.com{PATH}?x",
        f"https://sns.eu-west-1.amazonaws.com{PATH}\n",
        f"https://sns.eu-west-1.amazonaws.com/..{PATH}",
        f"https://sns.eu-west-1.amazonaws.com/{PATH}",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://s3.eu-west-1.amazonaws.com/bucket/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "",
        None,
        7,
        ["https://sns.eu-west-1.amazonaws.com"],
    ],
)
def test_a_certificate_from_elsewhere_is_never_asked_for(url: object) -> None:
    call = genuine("amazon-ses", SigningCertURL=url)
    refused(partial(sns.certificate_url, (TOPIC,)), call)  # type: ignore[arg-type]  # answers a text


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        ("arn:aws:sns:us-east-1:123456789012:t", "sns.us-east-1.amazonaws.com"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t", "sns.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_certificate_is_at_sns_in_the_region_of_the_topic(topic: str, host: str) -> None:
    url = f"https://{host}{PATH}"
    assert sns.certificate_url((sns.topic(topic),), genuine("amazon-ses", TopicArn=topic, SigningCertURL=url)) == url


@pytest.mark.parametrize("topic", ["arn:aws:sns:eu-west-1:999999999999:ses-events", TOPIC + "-x", "", None, 7])
def test_a_topic_that_is_not_ours_is_refused(topic: object) -> None:
    call = genuine("amazon-ses", TopicArn=topic)
    refused(partial(sns.certificate_url, (TOPIC,)), call, "other-topic")  # type: ignore[arg-type]  # answers a text


@pytest.mark.parametrize("changed", [{"SignatureVersion": "3"}, {"SignatureVersion": None}, {"Timestamp": "noon"}])
def test_an_envelope_of_another_kind_is_refused(changed: dict[str, Any]) -> None:
    call = genuine("amazon-ses")
    refused(verifying("amazon-ses"), replace(call, body=json.dumps(json.loads(call.body) | changed).encode()))


def test_a_version_is_not_taken_for_another() -> None:
    posted = json.loads(genuine("amazon-ses", version="1").body) | {"SignatureVersion": "2"}
    refused(verifying("amazon-ses"), Call({}, json.dumps(posted).encode(), NOW))


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn"])
def test_every_signed_member_is_held_against_the_signature(name: str) -> None:
    posted = json.loads(genuine("amazon-ses").body)
    altered = posted | {name: "2026-03-04T12:00:00.000Z" if name == "Timestamp" else "x"}
    refused(partial(sns.verify, webhooks.certificate()), Call({}, json.dumps(altered).encode(), NOW))
    del posted["Subject"]
    refused(partial(sns.verify, webhooks.certificate()), Call({}, json.dumps(posted).encode(), NOW))


@pytest.mark.parametrize("certificate", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_proves_nothing(certificate: bytes) -> None:
    refused(partial(sns.verify, certificate), genuine("amazon-ses"))


def test_a_certificate_is_good_for_its_time() -> None:
    later = NOW + timedelta(days=3)
    assert "expired" in refused(partial(sns.verify, webhooks.certificate()), genuine("amazon-ses", later))


# settings


@pytest.mark.parametrize("key", ["", "x", "AAAA", base64.b64encode(bytes(91)).decode()])
def test_what_is_no_key_of_sendgrid_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ValueError, match="copy it from"):
        sendgrid.public_key(key)


def test_a_key_of_another_kind_is_no_key_of_sendgrid() -> None:
    for key in (
        rsa.generate_private_key(65537, 1024).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
    ):
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(ValueError, match="copy it from"):
            sendgrid.public_key(base64.b64encode(spki).decode())


@pytest.mark.parametrize("key", ["", "x", "whsec_", "whsec_AAAA", "whpk_AAAA", "whsk_" + "A" * 44, "whsec_***"])
def test_what_is_no_key_of_standard_webhooks_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ValueError, match="write whsec_"):
        standard.key(key)


# properties

HEADERS = sorted({name for provider in PROVIDERS for name in genuine(provider).headers})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Type",
                    "TopicArn",
                    "SigningCertURL",
                    "Signature",
                    "signature",
                    "token",
                    "timestamp",
                    "event-data",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
BODIES = st.binary(max_size=60) | JSON.map(lambda told: json.dumps(told).encode()) | st.just(b"mandrill_events=%5B%5D")


@modest
@given(st.sampled_from(sorted(PROVIDERS)), BODIES, st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=40)))
@example("amazon-ses", b"[" * 100_000, {})
@example("mailgun", b'{"signature":{"timestamp":"1e999","token":"\\ud800","signature":"00"}}', {})
@example("mandrill", b"a=b&" * 1000, {"x-mandrill-signature": "AAAA"})
@example("standard", b"", {"webhook-id": "\ud800", "webhook-timestamp": "NaN", "webhook-signature": "v1,AAAA"})
@example("sendgrid", b"[]", {"x-twilio-email-event-webhook-timestamp": "\ud800"})
def test_whatever_comes_is_refused_and_nothing_else(provider: str, body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        verifying(provider)(Call(headers, body, NOW))


@modest
@given(st.sampled_from(sorted(PROVIDERS)), BODIES)
@example("mandrill", b"a=b&" * 1000)
@example("standard", b'{"type":"bounced"}')
def test_whatever_is_signed_is_taken_apart_or_refused(provider: str, body: bytes) -> None:
    try:
        found = PROVIDERS[provider].elements(Call({"webhook-id": "1"}, body, NOW))
    except (Refused, TypeError, ValueError):
        return
    assert isinstance(found, list)
