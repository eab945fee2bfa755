"""The reader of SMTP replies: the same however the bytes are cut, and bounded whatever comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.replies import MOST_CHARACTERS, MOST_LINES, MOST_OCTETS, Answer, Garbage, Parser, keywords

words = st.binary(max_size=40).filter(lambda text: b"\n" not in text and not text.endswith(b"\r"))
answers = st.builds(Answer, st.integers(200, 599), st.lists(words, min_size=1, max_size=5).map(tuple))
streams = st.lists(st.sampled_from([b"250 ok\r\n", b"250-a\n", b"354", b"\r", b"\n", b"-", b"\0", b"x" * 5000]) | words)


def said(answer: Answer) -> bytes:
    lines = [b"%d-%s\r\n" % (answer.code, line) for line in answer.lines]
    return b"".join(lines[:-1]) + b"%d %s\r\n" % (answer.code, answer.lines[-1])


def read(*pieces: bytes) -> tuple[list[Answer], str | None]:
    """The whole answers, and why there were no more."""
    parser = Parser()
    try:
        for piece in pieces:
            parser.feed(piece)
    except Garbage as error:
        return [*parser.answers], str(error)
    return [*parser.answers], None


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(ends)]


@given(st.lists(answers), st.lists(st.integers(0)))
def test_what_was_said_is_read_however_it_is_cut(spoken: list[Answer], places: list[int]) -> None:
    stream = b"".join(map(said, spoken))
    assert read(*cut(stream, places)) == (spoken, None)


@given(streams, st.lists(st.integers(0)))
def test_anything_is_read_alike_however_it_is_cut(pieces: list[bytes], places: list[int]) -> None:
    stream = b"".join(pieces)
    assert read(*cut(stream, places)) == read(stream)


@given(st.binary(min_size=1), st.integers(1, 50))
def test_whatever_comes_on_and_on_ends_or_is_answers(noise: bytes, times: int) -> None:
    parser, fed = Parser(), 0
    try:
        while fed < times * MOST_OCTETS:
            parser.feed(noise)
            fed += len(noise)
            parser.answers.clear()
            assert len(parser._rest) + sum(map(len, parser._lines)) <= MOST_LINES * MOST_OCTETS
    except Garbage:
        pass


@pytest.mark.parametrize(
    "stream",
    [
        *(
            b"hello\r\n",
            b"\r\n",
            b"\0\0\0\r\n",
            b"25 ok\r\n",
            b"2500 ok\r\n",
            b"250\tok\r\n",
            b"150 go\r\n",
            b"999 no\r\n",
        ),
        *(b"250 " + b"x" * MOST_OCTETS, b"250-x\r\n" * MOST_LINES, b"x" * (MOST_OCTETS + 1), b"-50 x\r\n"),
        *("٢٥٠ ok\r\n".encode(), b"\xff\xfe\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
    ],
)
def test_what_is_no_reply_or_without_end_is_garbage(stream: bytes) -> None:
    found, fault = read(b"220 first\r\n" + stream)
    assert found == [Answer(220, (b"first",))]
    assert fault


@pytest.mark.parametrize(
    ("stream", "answer"),
    [
        (b"250\r\n", Answer(250, (b"",))),
        (b"250 ok\n", Answer(250, (b"ok",))),
        (b"250-\r\n250\r\n", Answer(250, (b"", b""))),
        (b"550-5.1.1 no\r\n554 5.7.1 never\r\n", Answer(554, (b"5.1.1 no", b"5.7.1 never"))),
    ],
)
def test_odd_replies_are_read(stream: bytes, answer: Answer) -> None:
    assert read(stream) == ([answer], None)


def pending(*pieces: bytes) -> bool:
    parser = Parser()
    for piece in pieces:
        parser.feed(piece)
    return parser.pending


def test_part_of_a_reply_is_pending() -> None:
    assert not pending()
    assert pending(b"250-a\r\n")
    assert pending(b"250-a\r\n", b"250 b\r\n2")
    assert not pending(b"250-a\r\n", b"250 b\r\n2", b"50 c\r\n")


def test_the_words_are_fit_to_be_shown() -> None:
    answer = Answer(250, (b"a\0b\x1b[1m\rc", "ümlaut".encode(), b"\xff\x85"))
    assert answer.text == "a\ufffdb\ufffd[1m\ufffdc\nümlaut\n\ufffd\ufffd"
    assert len(Answer(250, (b"x" * MOST_OCTETS,) * 9).text) == MOST_CHARACTERS


def test_offers_are_read() -> None:
    answer = Answer(
        250, (b"mx.example.org Hello SIZE", b"pipelining", b"SIZE 1000 ", b"", b"AUTH LOGIN plain", b"8BITMIME")
    )
    assert keywords(answer) == {"PIPELINING": "", "SIZE": "1000", "AUTH": "LOGIN PLAIN", "8BITMIME": ""}
