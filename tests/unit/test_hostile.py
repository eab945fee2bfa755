"""Time grows with the size of a mail and not with its square, whatever the mail is made of."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from bounce_ingest.report import understand
from tests.unit.hostile import FROM, SHAPES, Build, baited

SIZE = 25_000  # bytes; a quadratic step over 100 kB takes seconds
SHORTEST = 0.002  # seconds; what is quicker is not measured well
# Four times the size takes four times as long, or sixteen times if the square counts.
MOST = 9


def growth(build: Build, size: int, read: Callable[[bytes], object] = understand) -> float:
    """How many times as long a mail of four times the size takes; the best of three tries, for machines are busy."""

    def seconds(mail: bytes) -> float:
        started = time.process_time()
        read(mail)
        return time.process_time() - started

    small, large = build(size), build(4 * size)
    return min(seconds(large) / max(SHORTEST, seconds(small)) for _ in range(3))


def test_a_quadratic_step_is_noticed() -> None:
    assert growth(dict(baited())["spaces in the text"], SIZE // 5, re.compile(rb" +!").search) > MOST


@pytest.mark.parametrize("shape", SHAPES)
def test_time_grows_with_size(shape: str) -> None:
    assert growth(SHAPES[shape], SIZE) < MOST
    assert growth(SHAPES[shape], 8 * SIZE) < MOST


@pytest.mark.parametrize(("name", "build"), [pytest.param(*each, id=each[0]) for each in baited()])
def test_no_bait_takes_quadratic_time(name: str, build: Build) -> None:
    assert growth(build, SIZE) < MOST, name


@pytest.mark.parametrize("line", [b"x", b" ", b"<a@b.example> ", b"\xff", b"\0"])
def test_ten_megabytes_of_one_line(line: bytes) -> None:
    def build(size: int) -> bytes:
        return FROM + b"\n" + (line * size)[:size]

    assert growth(build, 2_500_000) < MOST
