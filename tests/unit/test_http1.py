"""What clients send, in whatever pieces, and what they get: every request its answer, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pixel.answers import GIF, Form, Kind, answers
from pixel.http1.connection import MOST_BYTES, MOST_PENDING, MOST_URL, Connection, House, Request
from pixel.http1.wire import Wire
from tests.unit.samples import modest

ANSWERS = answers(0)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
GET = b"GET /o/x.gif HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Line:
    """The wire, as far as a connection uses it."""

    sent: bytes = b""
    closed: bool = False
    lingers: bool = False
    paused: bool = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def linger(self) -> None:
        self.closed = self.lingers = True

    def pause(self, paused: bool) -> None:
        self.paused = paused


@dataclass
class Rooms:
    """What connections share; answers at once, or when told to."""

    handler: Callable[[Request, Callable[[Kind], None]], None]
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(65_536)))
    answers: dict[Form, bytes] = field(default_factory=lambda: ANSWERS)
    stopping: bool = False
    calls: list[str] = field(default_factory=list)

    def busy(self, _: Connection) -> None:
        self.calls.append("busy")

    def waits(self, _: Connection) -> None:
        self.calls.append("waits")

    def left(self, _: Connection) -> None:
        self.calls.append("left")


@dataclass
class Client:
    """One connection, and what was asked over it."""

    at_once: bool = True
    asked: list[Request] = field(default_factory=list)
    pending: list[Callable[[Kind], None]] = field(default_factory=list)
    wire: Line = field(default_factory=Line)

    def __post_init__(self) -> None:
        self.rooms = Rooms(self._handle)
        self.connection = Connection(cast(House, self.rooms), cast(Wire, self.wire), "192.0.2.1")

    def _handle(self, request: Request, answer: Callable[[Kind], None]) -> None:
        self.asked.append(request)
        if self.at_once:
            answer("pixel")
        else:
            self.pending.append(answer)

    def is_read(self) -> bool:
        return not self.wire.paused

    def send(self, *pieces: bytes) -> bytes:
        """Answers what came back so far."""
        for piece in pieces:
            while piece and not self.wire.closed:
                part, piece = piece[:65_536], piece[65_536:]
                self.rooms.buffer[: len(part)] = part
                self.connection.received(len(part))
        return self.wire.sent


def form(kind: Kind = "pixel", *, body: bool = True, keep: bool = True) -> bytes:
    return ANSWERS[Form(kind, body, keep)]


def test_the_image_is_one_transparent_pixel() -> None:
    size, colours, control, image, end = GIF[6:13], GIF[13:19], GIF[19:27], GIF[27:-1], GIF[-1:]
    assert GIF.startswith(b"GIF89a")
    assert size == b"\x01\x00\x01\x00\x80\x00\x00"  # one by one, with a table of two colours
    assert len(colours) == 6
    assert control == b"\x21\xf9\x04\x01\x00\x00\x00\x00"  # colour 0 is transparent
    assert image[:10] == b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00"
    assert image[10:] == b"\x02\x02" + (0b101_000_100).to_bytes(2, "little") + b"\x00"
    assert end == b";"


def test_every_answer_is_small_and_says_its_length() -> None:
    for wanted, answer in ANSWERS.items():
        head, _, body = answer.partition(b"\r\n\r\n")
        assert len(answer) < 400
        assert len(body) == (int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]) if wanted.body else 0)
        assert (b"Connection: keep-alive" in head) == wanted.keep
        assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT" in head


def test_what_is_looked_at_is_handed_over() -> None:
    client = Client()
    client.send(
        b"GET /o/x.gif?y HTTP/1.1\r\nHost: x\r\nUSER-AGENT: a\xe4\r\nAccept: */*\r\n"
        b"X-Forwarded-For: 192.0.2.9\r\nx-forwarded-for: 10.0.0.1\r\n\r\n"
    )
    headers = {"user-agent": "a\xe4", "x-forwarded-for": "192.0.2.9,10.0.0.1"}
    assert client.asked == [Request("GET", b"/o/x.gif?y", headers, "192.0.2.1")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (GET, form()),
        (GET.replace(b"GET", b"HEAD"), form(body=False)),
        (GET.replace(b"Host: x", b"Host: x\r\nConnection: close"), form(keep=False)),
        (GET.replace(b"1.1", b"1.0"), form(keep=False)),
        (GET.replace(b"1.1", b"1.0").replace(b"Host: x", b"Connection: keep-alive"), form()),
        (GET + GET, form() + form()),
        (GET.replace(b"Host: x", b"Connection: close") + GET, form(keep=False)),
        (b"POST /o/x.gif HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + GET, form("not-found") + form()),
        (
            b"POST / HTTP/1.1\r\n" + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n" + GET,
            form("not-found") + form(),
        ),
        (b"GET /o/x.gif HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET, form(keep=False)),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", form("not-found", keep=False)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", form("bad-request", keep=False)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", form("bad-request", keep=False)),
        (GET + b"nonsense\r\n\r\n", form() + form("bad-request", keep=False)),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", form("bad-request", keep=False)),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\n" + CHUNKED + b"\r\n",
            form("bad-request", keep=False),
        ),
        (b"GET /" + b"a" * MOST_URL + b" HTTP/1.1\r\n\r\n" + GET, form("too-long") + form()),
        (b"GET / HTTP/1.1\r\nCookie: " + b"a" * MOST_BYTES + b"\r\n\r\n", form("too-large")),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MOST_BYTES, form("too-large", keep=False)),
        (b"GET / HTTP/1.1\r\nCookie: " + b"a" * 10 * MOST_BYTES, form("too-large", keep=False)),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"a" * 2 * MOST_BYTES, form("too-large", keep=False)),
        (b"GET /" + b"a" * 10 * MOST_BYTES, form("too-large", keep=False)),
        (b"GET / HT", b""),
        (b"\r\n\r\n" + GET, form()),
    ],
)
def test_a_client_gets_what_it_deserves(sent: bytes, expected: bytes) -> None:
    client = Client()
    assert client.send(sent) == expected
    assert client.wire.closed == (b"Connection: close" in expected)
    assert client.wire.lingers == any(form(kind, keep=False) in expected for kind in ("bad-request", "too-large"))


def test_who_has_sent_all_gets_all_answers() -> None:
    client = Client(at_once=False)
    client.send(GET + GET)
    client.connection.ended()
    assert not client.wire.closed
    for answer in client.pending:
        answer("pixel")
    assert client.wire.sent == form() + form(keep=False)
    assert client.wire.closed


def test_answers_go_out_in_the_order_of_the_requests() -> None:
    client = Client(at_once=False)
    assert client.send(GET + GET.replace(b"GET", b"HEAD"), GET) == b""
    first, second, third = client.pending
    second("pixel")
    third("not-found")
    assert client.wire.sent == b""
    first("pixel")
    assert client.wire.sent == form() + form(body=False) + form("not-found")
    assert client.rooms.calls == [*["busy"] * 3, "waits"]


def test_a_client_with_many_pending_requests_is_not_read() -> None:
    client = Client(at_once=False)
    client.send(GET * (MOST_PENDING - 1))
    assert client.is_read()
    client.send(GET)
    assert not client.is_read()
    client.pending[0]("pixel")
    assert client.is_read()


def test_a_client_that_takes_no_answers_is_not_read() -> None:
    client = Client()
    client.connection.stuck(True)
    assert not client.is_read()
    client.connection.stuck(False)
    assert client.is_read()


def test_an_answer_for_a_client_that_is_gone_goes_nowhere() -> None:
    client = Client(at_once=False)
    client.send(GET)
    client.wire.close()
    client.connection.lost()
    client.pending[0]("pixel")
    assert client.wire.sent == b""
    assert client.rooms.calls[-1] == "left"


def test_when_stopping_the_answer_is_the_last() -> None:
    client = Client(at_once=False)
    client.send(GET + GET)
    client.rooms.stopping = True
    for answer in client.pending:
        answer("pixel")
    assert client.wire.sent == form(keep=False)
    assert client.wire.closed


# any bytes


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS"])
names = st.sampled_from([b"Host", b"User-Agent", b"Accept", b"Purpose", b"Content-Length", b"Transfer-Encoding"])
values = st.sampled_from([b"x", b"", b"0", b"3", b"-1", b"chunked", b"close", b"\xff"]) | st.binary(max_size=12)
fields = st.lists(st.tuples(names | st.sampled_from([b"Connection", b"Upgrade", b"Expect", b""]), values), max_size=5)
request_like = st.builds(
    lambda method, url, version, some, end: (
        b"%s %s HTTP/%s\r\n%s" % (method, url, version, b"".join(b"%s: %s\r\n" % each for each in some)) + end
    ),
    methods | st.binary(max_size=4),
    st.sampled_from([b"/", b"/o/x.gif", b"http://x/o/x.gif", b"*"]) | st.binary(max_size=20),
    st.sampled_from([b"1.1", b"1.0", b"0.9", b"2.0"]),
    fields,
    st.sampled_from([b"\r\n", b"\n", b"", b"\r\nabc", b"\r\n3\r\nabc\r\n0\r\n\r\n"]),
)
streams = st.lists(request_like | st.just(GET) | st.binary(max_size=40), max_size=6).map(b"".join)


@modest
@given(streams, st.lists(st.integers(0, 1000), max_size=8))
@example(GET + b"\0" + GET, [3, 9])
def test_it_does_not_matter_how_the_bytes_are_cut(stream: bytes, places: list[int]) -> None:
    whole, pieces = Client(), Client()
    assert whole.send(stream) == pieces.send(*cut(stream, places))
    assert whole.asked == pieces.asked
    assert whole.wire.closed == pieces.wire.closed


@modest
@given(streams)
def test_whatever_comes_every_answer_is_one_of_ours(stream: bytes) -> None:
    client = Client()
    left, count = client.send(stream), 0
    while left:
        found = [answer for answer in ANSWERS.values() if left.startswith(answer)]
        left, count = left[max(map(len, found)) :], count + 1
    assert count >= len(client.asked)


@modest
@given(
    st.lists(st.sampled_from([GET, GET.replace(b"GET", b"HEAD")]), max_size=40),
    st.randoms(),
)
def test_a_pipeline_is_answered_in_order_whenever_its_opens_are_safe(pipeline: list[bytes], random: Any) -> None:
    client = Client(at_once=False)
    client.send(b"".join(pipeline))
    order = list(range(len(pipeline)))
    random.shuffle(order)
    for number in order:
        client.pending[number]("pixel")
    assert client.wire.sent == b"".join(form(body=not each.startswith(b"HEAD")) for each in pipeline)
    assert client.is_read()
