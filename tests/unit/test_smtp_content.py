"""A message made ready for DATA: it reads back as it was, and it ends once."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.content import BLOCK, blocks

pieces = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\0", b"\xff", b"\r\n.\r\n"]) | st.binary(max_size=5)
)
contents = pieces.map(b"".join)


def wire(content: bytes) -> bytes:
    before, last = blocks(content)
    return b"".join([*before, last])


def received(stream: bytes) -> bytes:
    """As a server reads it (RFC 5321 4.5.2): lines to the single dot, the first dot of others taken away."""
    lines = stream.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])


@given(contents)
def test_what_is_received_is_what_was_sent(content: bytes) -> None:
    expected = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    assert received(wire(content)) == expected + (b"" if expected.endswith(b"\r\n") or not expected else b"\r\n")


@given(contents)
def test_no_server_sees_more_than_one_end(content: bytes) -> None:
    stream = b"\r\n" + wire(content)
    ends = re.findall(rb"(?:\r\n|\r|\n)\.(?=\r|\n)", stream)
    assert ends == [b"\r\n."]
    assert stream.endswith(b"\r\n.\r\n")


@pytest.mark.parametrize("excess", range(-5, 6))
@pytest.mark.parametrize("filler", [b"x", b".\r\n", b"\r\n"])
def test_the_final_dot_is_whole_in_the_last_block(filler: bytes, excess: int) -> None:
    size = 2 * BLOCK + excess
    content = (filler * size)[: size - 2] + b"\r\n"
    before, last = blocks(content)
    assert last.endswith(b".\r\n")
    assert len(last) > 3
    assert all(len(block) == BLOCK for block in before)
    assert received(wire(content)) == received(b"".join([*before, last]))


def test_a_small_message_is_one_block() -> None:
    assert blocks(b"Subject: x\r\n\r\n.\r\n") == ([], b"Subject: x\r\n\r\n..\r\n.\r\n")
    assert blocks(b"") == ([], b".\r\n")
