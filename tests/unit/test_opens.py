"""An open is told as the contract has it, and with as little of the person as the request wants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel.opens import encoded, token
from pixel.verdict import Judgement, rules
from tests.unit.samples import KEYRING, MESSAGE, NOON, modest
from tracepost import events, tokens
from tracepost.events import AnyEvent, Opened
from tracepost.tokens import TRACK_DAY, TRACK_FULL, Claim

OUTLOOK = Judgement("person", "outlook", "Outlook")
GMAIL = Judgement("proxied", "gmail-image-proxy", "Gmail")
NETWORK = "192.0.2.0/24"


def claim(flags: int = TRACK_FULL, recipient_no: int = 1) -> Claim:
    return Claim(MESSAGE, recipient_no, flags, NOON.date(), 1, b"")


def data(event: AnyEvent) -> Opened:
    assert isinstance(event.data, Opened)
    return event.data


def test_an_open_is_told_with_its_client_and_its_network() -> None:
    event = events.decode(encoded(claim(), OUTLOOK, NETWORK, NOON))
    assert (event.name, event.source, event.subject) == ("opened", "/tracepost/pixel", f"{MESSAGE}/1")
    assert event.time == NOON
    assert data(event) == Opened(verdict="person", rule="outlook", client="Outlook", ip=NETWORK)


@modest
@given(
    st.sampled_from(
        [*(rule.judgement for rule in rules()), Judgement("unknown", "no-rule"), Judgement("bot", 'ä"\\\n')]
    ),
    st.sampled_from([NETWORK, "2001:db8:1::/48", None]),
    st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)) | st.just(datetime(2026, 1, 1)),  # noqa: DTZ001
    st.integers(0, 255),
    st.sampled_from([TRACK_FULL, TRACK_DAY]),
)
def test_it_is_written_as_the_model_writes_it(
    who: Judgement, network: str | None, time: datetime, recipient_no: int, flags: int
) -> None:
    written = encoded(claim(flags, recipient_no), who, network, time.replace(tzinfo=UTC))
    assert events.encode(events.decode(written)) == written


def test_every_open_is_an_event_of_its_own() -> None:
    first, second = (events.decode(encoded(claim(), OUTLOOK, NETWORK, NOON)) for _ in range(2))
    assert first.id != second.id
    assert first.id.version == 7


def day(time: datetime = NOON, who: Judgement = OUTLOOK, recipient_no: int = 1, network: str = NETWORK) -> AnyEvent:
    return events.decode(encoded(claim(TRACK_DAY, recipient_no), who, network, time))


def test_in_day_mode_an_open_tells_the_day_alone() -> None:
    assert day().time == datetime(2026, 3, 4, tzinfo=UTC)
    assert data(day()) == Opened(verdict="person", rule="day")
    assert data(day()).ip is data(day()).client is None


def test_in_day_mode_there_is_one_event_per_delivery_day_and_verdict() -> None:
    assert day() == day(NOON + timedelta(hours=5)) == day(network="2001:db8::/48")
    assert day() == day(who=Judgement("person", "thunderbird", "Thunderbird"))
    others = [day(NOON + timedelta(days=1)), day(NOON - timedelta(hours=13)), day(who=GMAIL), day(recipient_no=2)]
    assert len({day().id, *(other.id for other in others)}) == 5


# the URL

GENUINE = KEYRING.pixel(MESSAGE, 1, day=date(2026, 3, 4))
NAME = tokens.to_url(GENUINE).encode()


@pytest.mark.parametrize(
    "url", [b"/o/%s.gif", b"/o/%s.gif?x=1", b"http://pixel.example/o/%s.gif", b"HTTPS://x/o/%s.gif?"]
)
def test_a_token_is_found_in_its_url(url: bytes) -> None:
    assert token(url % NAME) == GENUINE


@pytest.mark.parametrize("name", [b"x", b"%00%ff", b"A" * 2001, NAME[:-1] + b"!", b"\xff\xfe", b".", b"..gif"])
def test_what_is_no_token_is_empty(name: bytes) -> None:
    assert token(b"/o/%s.gif" % name) == b""


@pytest.mark.parametrize(
    "url",
    [
        b"/",
        b"/o/",
        b"/o/.gif",
        b"/o/x.png",
        b"/o/a/b.gif",
        b"/metrics",
        b"*",
        b"o/x.gif",
        b"",
        b"http://x",
        b"/O/x.gif",
    ],
)
def test_another_url_is_no_pixels(url: bytes) -> None:
    assert token(url) is None


@modest
@given(st.binary(max_size=100))
def test_any_url_can_be_looked_at(url: bytes) -> None:
    assert token(url) in (None, b"") or KEYRING.verify("pixel", token(url) or b"") is None
