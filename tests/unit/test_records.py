"""The spool's format: what was written whole is read, and nothing else, wherever it is torn or damaged."""

from __future__ import annotations

from hypothesis import assume, example, given
from hypothesis import strategies as st

from pixel.records import OVERHEAD, decoded, encoded
from tests.unit.samples import modest

# JSON holds no NUL; a stray mark in a body is the worst that damage can make of one.
bodies = st.lists(st.binary(max_size=60).map(lambda body: body.replace(b"\0", b"")), max_size=8)


def file(some: list[bytes]) -> bytes:
    return b"".join(map(encoded, some))


@modest
@given(bodies)
@example([b"", b"", b"TPR"])
def test_what_is_written_is_read(some: list[bytes]) -> None:
    assert decoded(file(some)) == (some, 0)


@modest
@given(bodies, st.data())
def test_a_torn_file_gives_all_that_is_whole(some: list[bytes], data: st.DataObject) -> None:
    whole = file(some)
    end = data.draw(st.integers(0, len(whole)))
    found = decoded(whole[:end])
    count = sum(len(file(some[: number + 1])) <= end for number in range(len(some)))
    assert found.bodies == some[:count]
    assert found.damaged == end - len(file(some[:count]))


@modest
@given(bodies, bodies, st.binary(max_size=100), st.data())
def test_behind_a_torn_record_the_next_ones_are_found(
    before: list[bytes], after: list[bytes], filling: bytes, data: st.DataObject
) -> None:
    record = encoded(data.draw(st.binary(min_size=1, max_size=60)))
    rubbish = record[: data.draw(st.integers(0, OVERHEAD))] + filling.replace(b"\0", b"")
    assume(not rubbish.startswith(record))  # the filling may be what was torn off
    found = decoded(file(before) + rubbish + file(after))
    assert found.bodies == before + after
    assert found.damaged == len(rubbish)


@modest
@given(bodies.filter(bool), st.data())
def test_a_flipped_bit_costs_one_record(some: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(file(some))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    hit = sum(len(file(some[: number + 1])) <= at for number in range(len(some)))
    found = decoded(bytes(whole))
    assert found.bodies == some[:hit] + some[hit + 1 :]
    assert found.damaged == len(encoded(some[hit]))


@modest
@given(st.binary(max_size=500))
@example(b"\0TPR" * 50)
def test_anything_can_be_read(rubbish: bytes) -> None:
    found = decoded(rubbish)
    assert sum(map(len, found.bodies)) + OVERHEAD * len(found.bodies) + found.damaged == len(rubbish)
