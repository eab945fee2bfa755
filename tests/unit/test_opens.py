"""A pixel is always answered, and an open is told with as little of the person as the request wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from multidict import CIMultiDict

from pixel.opens import GIF, application, client_ip, opened
from tests.unit.samples import KEYRING, MESSAGE, NOON
from tracepost import tokens
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import AnyEvent, Opened, encode
from tracepost.tokens import TRACK_DAY, TRACK_FULL, Claim, Keyring

OUTLOOK = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)"
THUNDERBIRD = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
IP = "192.0.2.77"
PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8")))


def claim(flags: int = TRACK_FULL, recipient_no: int = 1) -> Claim:
    return Claim(MESSAGE, recipient_no, flags, NOON.date(), 1, b"")


def data(event: AnyEvent) -> Opened:
    assert isinstance(event.data, Opened)
    return event.data


# the event


def test_an_open_is_told_with_its_client_and_its_network() -> None:
    event = opened(claim(), OUTLOOK, IP, NOON)
    assert (event.name, event.source, event.subject) == ("opened", "/tracepost/pixel", f"{MESSAGE}/1")
    assert event.time == NOON
    assert data(event) == Opened(verdict="person", rule="outlook", client="Outlook", ip="192.0.2.0/24")
    assert b"192.0.2.77" not in encode(event)
    assert b"Office/16" not in encode(event)


def test_every_open_is_an_event_of_its_own() -> None:
    assert opened(claim(), OUTLOOK, IP, NOON).id != opened(claim(), OUTLOOK, IP, NOON).id


def test_an_open_is_of_now_unless_said_otherwise() -> None:
    before = datetime.now(UTC)
    assert before <= opened(claim(), OUTLOOK, IP).time <= datetime.now(UTC)


def day(time: datetime = NOON, agent: str = OUTLOOK, recipient_no: int = 1, ip: str = IP) -> AnyEvent:
    return opened(claim(TRACK_DAY, recipient_no), agent, ip, time)


def test_in_day_mode_an_open_tells_the_day_alone() -> None:
    event = day()
    assert event.time == datetime(2026, 3, 4, tzinfo=UTC)
    assert (data(event).verdict, data(event).client, data(event).ip) == ("person", None, None)
    assert b"192.0.2" not in encode(event)
    assert b"12:30" not in encode(event)


def test_in_day_mode_there_is_one_event_per_delivery_day_and_verdict() -> None:
    assert day() == day(NOON + timedelta(hours=5)) == day(ip="2001:db8::1")
    others = [day(NOON + timedelta(days=1)), day(NOON - timedelta(hours=13)), day(agent=GMAIL), day(recipient_no=2)]
    assert len({day().id, *(other.id for other in others)}) == 5


def test_in_day_mode_the_client_cannot_be_told_from_the_rule() -> None:
    assert day(agent=OUTLOOK) == day(agent=THUNDERBIRD)


# whose address


@dataclass(frozen=True)
class Peer:
    """The transport, as far as it says who the peer is."""

    address: str | None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.address, 1) if name == "peername" and self.address else default


def ip_of(peer: str | None, *forwarded: str, proxies: Any = PROXIES) -> str:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    request = make_mocked_request("GET", "/o/x.gif", headers=headers, transport=cast(Any, Peer(peer)))
    return client_ip(request, proxies)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1,10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        (None, None, ""),
        (None, "198.51.100.1", ""),
    ],
)
def test_the_address_is_what_the_nearest_trusted_proxies_say(
    peer: str | None, forwarded: str | None, expected: str
) -> None:
    assert ip_of(peer, *([] if forwarded is None else [forwarded])) == expected


def test_nobody_is_trusted_unless_said_so() -> None:
    assert ip_of("10.0.0.1", "198.51.100.1", proxies=()) == "10.0.0.1"


def test_a_line_that_the_client_wrote_does_not_count() -> None:
    assert ip_of("10.0.0.1", "203.0.113.9", "198.51.100.1") == "198.51.100.1"


def test_a_proxy_on_an_ipv6_socket_is_trusted_too() -> None:
    assert ip_of("::ffff:10.0.0.1", "198.51.100.1") == "198.51.100.1"


# the answer


@dataclass
class Remembering:
    """The publisher, as far as the pixel uses it."""

    fault: Exception | None = None
    published: list[AnyEvent] = field(default_factory=list)

    async def publish(self, event: AnyEvent) -> None:
        if self.fault:
            raise self.fault
        self.published.append(event)


Ask = Callable[..., Any]


@asynccontextmanager
async def asking(publisher: Remembering) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = application(KEYRING, cast(Publisher, publisher), ())
    async with TestClient(TestServer(app)) as client:
        yield client


def path(token: bytes) -> str:
    return f"/o/{tokens.to_url(token)}.gif"


VALID = path(KEYRING.pixel(MESSAGE, 1))
EXPIRED = path(KEYRING.pixel(MESSAGE, 1, day=date(2020, 1, 1)))
FORGED = path(Keyring({1: b"another key".ljust(32)}).pixel(MESSAGE, 1))
OF_RETURN_PATH = path(KEYRING.return_path(MESSAGE, 1, "ann@example.org"))


async def test_valid_invalid_and_expired_tokens_get_the_same_answer() -> None:
    publisher, answers = Remembering(), []
    async with asking(publisher) as client:
        for each in (VALID, EXPIRED, FORGED, OF_RETURN_PATH, "/o/x.gif", "/o/%00%ff.gif", "/o/" + "A" * 4000 + ".gif"):
            async with client.get(each, headers={"User-Agent": OUTLOOK}) as response:
                headers = {name: value for name, value in response.headers.items() if name != "Date"}
                answers.append((response.status, headers, await response.read()))
    assert all(answer == answers[0] for answer in answers)
    status, headers, image = answers[0]
    assert (status, image) == (200, GIF)
    assert headers["Content-Type"] == "image/gif"
    assert headers["Cache-Control"] == "no-store, no-cache, must-revalidate, private, max-age=0"
    assert [event.subject for event in publisher.published] == [f"{MESSAGE}/1"]
    assert data(publisher.published[0]).rule == "outlook"


def test_the_image_is_one_transparent_pixel() -> None:
    assert GIF.startswith(b"GIF89a\x01\x00\x01\x00")
    assert b"\x21\xf9\x04\x01" in GIF  # the graphic control extension says that one colour is transparent
    assert GIF.endswith(b";")


async def test_a_head_and_a_prefetch_are_answered_and_do_not_count() -> None:
    publisher = Remembering()
    async with asking(publisher) as client:
        async with client.head(VALID) as response:
            assert (response.status, await response.read()) == (200, b"")
        async with client.get(VALID, headers={"Purpose": "prefetch"}) as response:
            assert (response.status, await response.read()) == (200, GIF)
    assert publisher.published == []


@pytest.mark.parametrize("fault", [NotConfirmed("no session"), Unroutable("no queue")])
async def test_a_pixel_is_answered_even_where_the_open_is_lost(fault: Exception) -> None:
    async with asking(Remembering(fault)) as client, client.get(VALID) as response:
        assert (response.status, await response.read()) == (200, GIF)


@pytest.mark.parametrize("elsewhere", ["/", "/o/", "/o/x.png", "/o/a/b.gif", "/metrics"])
async def test_anything_else_is_not_found(elsewhere: str) -> None:
    async with asking(Remembering()) as client, client.get(elsewhere) as response:
        assert response.status == 404
        assert len(await response.read()) < 100
