"""The spool on a real disk: what was told safe comes out again, after crashes too, but for what a full one dropped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixel import spool
from pixel.records import encoded
from pixel.spool import Spool, size, spooling
from tracepost import metrics
from tracepost.runner import Unavailable

MOST = 1 << 20


async def kept(into: Spool, *bodies: bytes) -> None:
    """Append together, and return when all are told to be safe."""
    told = [asyncio.get_running_loop().create_future() for _ in bodies]
    for body, future in zip(bodies, told, strict=True):
        into.append(body, lambda future=future: future.set_result(None))  # type: ignore[misc]
    await asyncio.gather(*told)


async def emptied(of: Spool) -> list[bytes]:
    found: list[bytes] = []
    while taken := await of.take():
        found += taken.bodies
        await of.remove(taken)
    return found


async def test_what_is_appended_is_taken_in_order_and_once(tmp_path: Path) -> None:
    async with spooling(tmp_path, MOST) as one:
        await kept(one, b"a", b"b")
        await kept(one, b"c")
        assert await emptied(one) == [b"a", b"b", b"c"]
        assert await one.take() is None
    assert list(tmp_path.iterdir()) == []


async def test_a_group_that_comes_while_another_is_written_is_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, sync = [], os.fdatasync

    def counted(descriptor: int) -> None:
        syncs.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    async with spooling(tmp_path, MOST) as one:
        await kept(one, *[b"x"] * 500)
        assert len(syncs) == 2
        assert len(await emptied(one)) == 500


async def test_what_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    async with spooling(tmp_path, MOST) as one, spooling(tmp_path, MOST) as other:
        await kept(one, b"a")
        assert await other.take() is None
        taken = await one.take()
        assert taken
        assert await other.take() is None
        one.give_back(taken)
        assert await emptied(other) == [b"a"]
        assert await emptied(one) == []


async def test_a_dead_process_leaves_its_files_to_the_others(tmp_path: Path) -> None:
    async with spooling(tmp_path, MOST) as one:
        await kept(one, b"a")
        died(one)
        async with spooling(tmp_path, MOST) as other:
            assert await emptied(other) == [b"a"]


async def test_the_oldest_are_dropped_from_a_full_spool_and_counted(tmp_path: Path) -> None:
    lost = metrics.OPENS_LOST.labels("spool full")._value
    before, count = lost.get(), 400
    async with spooling(tmp_path, MOST) as one:
        for number in range(count):
            await kept(one, *(b"%06d %d" % (number, at) + b"x" * 1_000 for at in range(10)))
            assert size(tmp_path) <= MOST
        found = [int(body[:6]) for body in await emptied(one)]
    assert found == sorted(found)
    assert found[-1] == count - 1
    assert len(found) + lost.get() - before == 10 * count
    assert len(found) > 10 * count // 8


async def test_a_disk_that_fails_once_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int) -> None:
        monkeypatch.undo()
        raise OSError(5, "Input/output error")

    async with spooling(tmp_path, MOST) as one:
        await kept(one, b"a")
        monkeypatch.setattr(os, "fdatasync", failing)
        await kept(one, b"b")
        assert set(await emptied(one)) == {b"a", b"b"}


async def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="TRACEPOST_PIXEL_SPOOL"):
        async with spooling(tmp_path / "file", MOST):
            raise AssertionError


def died(one: Spool) -> None:
    """As far as the disk can tell: the system has closed its file."""
    if one._descriptor >= 0:
        os.close(one._descriptor)
        one._descriptor = -1


# any history

Step = tuple[str, int]
steps = st.tuples(st.sampled_from(["append", "drain", "give back", "crash", "torn"]), st.integers(1, 5))


@dataclass
class History:
    """A folder, the process of the hour, and what should be in there."""

    folder: Path
    safe: list[bytes] = field(default_factory=list)
    drained: list[bytes] = field(default_factory=list)
    count: int = 0

    async def go(self, history: Sequence[Step]) -> None:
        process = Spool(self.folder, MOST)
        for what, number in history:
            match what:
                case "append":
                    bodies = [b"%d" % (self.count + at) for at in range(number)]
                    await kept(process, *bodies)
                    self.count += number
                    self.safe += bodies
                case "drain":
                    if taken := await process.take():
                        self.drained += taken.bodies
                        await process.remove(taken)
                case "give back":
                    if taken := await process.take():
                        process.give_back(taken)
                case "torn":  # in the middle of a write that nobody was told of
                    if process._descriptor >= 0:
                        os.write(process._descriptor, encoded(b"torn")[:-number])
                    died(process)
                    process = Spool(self.folder, MOST)
                case "crash":
                    died(process)
                    process = Spool(self.folder, MOST)
        self.drained += await emptied(process)
        await process.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=12))
def test_whatever_happens_all_that_was_safe_comes_out_once_and_nothing_else(history: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        lived = History(Path(folder))
        asyncio.run(lived.go(history))
        assert sorted(lived.drained) == sorted(lived.safe)
        assert list(Path(folder).glob(f"*{spool.SUFFIX}")) == []
