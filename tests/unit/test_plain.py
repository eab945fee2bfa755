"""What is understood at a glance is understood as a parser of HTTP does, and what is not plain is left to one."""

from __future__ import annotations

from uuid import UUID

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from status_store.plain import MOST_BYTES, Asked, understood
from tests.unit.samples import MESSAGE, modest

PLAIN = f"GET /v1/messages/{MESSAGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tp_a\r\n\r\n".encode()
KEY = b"Authorization: Bearer tp_a\r\n"


class Parsed:
    """What httptools finds in bytes that are requests, whole."""

    def __init__(self, data: bytes) -> None:
        self.url, self.body, self.begun, self.ended = b"", b"", 0, 0
        self.fields: list[tuple[bytes, bytes]] = []
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method, self.version, self.stays = parser.get_method(), parser.get_http_version(), True
        self.stays = parser.should_keep_alive() and not parser.should_upgrade()

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_message_complete(self) -> None:
        self.ended += 1

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]


@pytest.mark.parametrize(
    ("further", "known"),
    [
        (b"", None),
        (b'if-none-match: "3"\r\nAccept: */*\r\nUser-Agent: curl/8\r\nCookie: a=b\r\n', '"3"'),
        (b"X-Request-Id:17\r\nX-Empty:\r\nConnection: Keep-Alive\r\n", None),
    ],
)
def test_a_plain_request_is_understood(further: bytes, known: str | None) -> None:
    data = PLAIN[:-2] + further + b"\r\n"
    for each in (data, data.replace(b"Authorization: Bearer ", b"AUTHORIZATION:  bearer  ")):
        assert understood(each) == Asked(str(MESSAGE), "tp_a", known)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        PLAIN[:-2],
        PLAIN + PLAIN,
        PLAIN + b"x",
        b"\r\n" + PLAIN,
        PLAIN.replace(b"GET", b"HEAD"),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b" HTTP", b"/events HTTP"),
        PLAIN.replace(b" HTTP", b"?a=b HTTP"),
        PLAIN.replace(str(MESSAGE).encode(), str(MESSAGE).upper().encode()),
        PLAIN.replace(str(MESSAGE).encode(), MESSAGE.hex.encode()),
        PLAIN.replace(KEY, b""),
        PLAIN.replace(KEY, b"Cookie: tracepost-session=x\r\n"),
        PLAIN.replace(KEY, KEY + KEY),
        PLAIN.replace(b"Bearer", b"Basic"),
        PLAIN.replace(b"tp_a", b"tp_\xe4"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(KEY, KEY + b" folded\r\n"),
        PLAIN.replace(KEY, KEY + b"Name : x\r\n"),
        PLAIN[:-2] + b"Cookie: " + b"a" * MOST_BYTES + b"\r\n\r\n",
        *(
            PLAIN[:-2] + odd + b"\r\n\r\n"
            for odd in (
                b"Connection: close",
                b"Connection: keep-alive, te",
                b"Content-Length: 0",
                b"Expect: 100-continue",
                b"Origin: https://x.example",
                b"Transfer-Encoding: chunked",
                b"Upgrade: h2c",
                b'If-None-Match: "1"\r\nIf-None-Match: "2"',
            )
        ),
    ],
)
def test_what_is_not_plain_is_not_understood(data: bytes) -> None:
    assert understood(data) is None


names = st.sampled_from(
    [b"Host", b"Accept", b"Authorization", b"If-None-Match", b"Connection", b"Content-Length", b"Upgrade", b"X-\xe4"]
) | st.binary(max_size=3)
values = st.sampled_from(
    [b"x", b"", b"Bearer a", b"bearer  b ", b'"3"', b"0", b"close", b"keep-alive", b"\t", b"a\r\n b"]
) | st.binary(max_size=4)
lines = st.builds(lambda name, colon, value: name + colon + value, names, st.sampled_from([b":", b": ", b" :"]), values)
nearly_plain = st.builds(
    lambda target, version, some, end: (
        b"GET /v1/messages/%s HTTP/%s\r\n%s%s" % (target, version, b"".join(each + b"\r\n" for each in some), end)
    ),
    st.uuids().map(lambda id_: str(id_).encode()) | st.binary(max_size=36),
    st.sampled_from([b"1.1"] * 3 + [b"1.0", b"2.0"]),
    st.permutations([b"Host: x", KEY[:-2]]).flatmap(
        lambda usual: st.lists(lines, max_size=2).map(lambda more: usual + more)
    ),
    st.sampled_from([b"\r\n"] * 3 + [b"", b"\n", b"\r\nGET / HTTP/1.1\r\n\r\n", b"\r\n\r\n"]),
)


@modest
@given(nearly_plain)
def test_a_parser_of_http_finds_the_same_in_it_and_nothing_more(data: bytes) -> None:
    if (asked := understood(data)) is None:
        return
    parsed = Parsed(data)
    assert (parsed.begun, parsed.ended, parsed.body, parsed.stays) == (1, 1, b"", True)
    assert (parsed.method, parsed.version, parsed.url) == (b"GET", "1.1", f"/v1/messages/{asked.message_id}".encode())
    assert str(UUID(asked.message_id)) == asked.message_id
    [authorization] = parsed.values(b"authorization")
    scheme, _, key = authorization.partition(b" ")
    assert (scheme.lower(), key.strip()) == (b"bearer", asked.key.encode())
    assert parsed.values(b"if-none-match") == ([] if asked.known is None else [asked.known.encode()])
